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

const STYLES = ['base.css', 'components.css', 'layout.css', 'player.css', 'channels.css', 'tuners.css'];
const SCRIPTS = [
  'dashboard.js',
  'connection.js',
  'channel-list.js',
  'channel-card.js',
  'tuners.js',
  'player.js',
  'channel-loader.js',
  'format.js',
  'rate.js',
  'page.js',
];

/** Every file that is served, by its path: there is no other, whatever a request asks for. */
export const ASSETS: ReadonlyMap<string, Asset> = new Map([
  ['/', { contentType: types.html, read: () => pageFile('index.html') }],
  ...STYLES.map((name) => asset(name, types.css)),
  ...SCRIPTS.map((name) => asset(name, types.js)),
  ['/assets/mpegts.js', { contentType: types.js, read: player }],
]);

function asset(name: string, contentType: string): [string, Asset] {
  return [`/assets/${name}`, { contentType, read: () => pageFile(name) }];
}

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
