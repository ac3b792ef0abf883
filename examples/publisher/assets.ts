import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export interface Asset {
  readonly contentType: string;
  readonly read: () => Buffer;
}

const types = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
};

/** Every file that is served, by its path: there is no other, whatever a request asks for. */
export const ASSETS: ReadonlyMap<string, Asset> = new Map([
  ['/', { contentType: types.html, read: () => pageFile('index.html') }],
  ['/assets/dashboard.css', { contentType: types.css, read: () => pageFile('dashboard.css') }],
  ['/assets/dashboard.js', { contentType: types.js, read: () => pageFile('dashboard.js') }],
  ['/assets/mpegts.js', { contentType: types.js, read: player }],
]);

/** The folder is beside this file as it is beside the bundle. */
function pageFile(name: string): Buffer {
  return readFileSync(new URL(`./dashboard/${name}`, import.meta.url));
}

/** The build puts the player beside the page; from source it is in its package. */
function player(): Buffer {
  const bundled = new URL('./dashboard/mpegts.js', import.meta.url);
  return readFileSync(
    existsSync(bundled) ? bundled : createRequire(import.meta.url).resolve('mpegts.js/dist/mpegts.js'),
  );
}
