// The bundled publisher serves these files; the players are bundled too, so that installing holdfast does not pull them.
import { copyFileSync, cpSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PLAYERS } from '../examples/publisher/assets.ts';

const repository = new URL('../', import.meta.url);
const target = new URL('dist/publisher/dashboard/', repository);
cpSync(new URL('examples/publisher/dashboard/', repository), target, { recursive: true });
const { resolve } = createRequire(new URL('examples/package.json', repository));
for (const [name, file] of Object.entries(PLAYERS)) copyFileSync(resolve(file), new URL(name, target));
