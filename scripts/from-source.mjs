// Lets the examples import `holdfast` as their users do while it runs from src/, without a build:
// node --import ./scripts/from-source.mjs program.ts
import { registerHooks } from 'node:module';

const source = new URL('../src/', import.meta.url);

registerHooks({
  resolve(specifier, context, next) {
    const [name, subpath] = specifier.split('/');
    if (name !== 'holdfast') return next(specifier, context);
    return next(new URL(subpath ? `${subpath}/index.ts` : 'index.ts', source).href, context);
  },
});
