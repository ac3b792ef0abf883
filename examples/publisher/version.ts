import { readFileSync } from 'node:fs';

/** Of the package; its description is two folders above this file as it is above the bundle. */
export function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}
