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

const STYLES = ['base.css', 'channels.css', 'components.css', 'details.css', 'layout.css', 'player.css', 'system.css'];
const SCRIPTS = [
  'channel-card.js',
  'channel-details.js',
  'channel-list.js',
  'channel-loader.js',
  'channel-words.js',
  'connection.js',
  'dashboard.js',
  'event-log.js',
  'favourites.js',
  'format.js',
  'hls-way.js',
  'model.js',
  'mpeg-ts-way.js',
  'operator.js',
  'page.js',
  'player-problems.js',
  'player-ways.js',
  'player.js',
  'previews.js',
  'rate.js',
  'system.js',
  'tuners.js',
];

/** What plays in the page, by the name that it is served under, and where its package has it. */
export const PLAYERS: Readonly<Record<string, string>> = {
  'mpegts.js': 'mpegts.js/dist/mpegts.js',
  'hls.js': 'hls.js/dist/hls.light.min.mjs',
};

/** Every file that is served, by its path: there is no other, whatever a request asks for. */
export const ASSETS: ReadonlyMap<string, Asset> = new Map([
  ['/', { contentType: types.html, read: () => pageFile('index.html') }],
  ...STYLES.map((name) => asset(name, types.css)),
  ...SCRIPTS.map((name) => asset(name, types.js)),
  ...Object.keys(PLAYERS).map((name): [string, Asset] => [
    `/assets/${name}`,
    { contentType: types.js, read: () => player(name) },
  ]),
]);

function asset(name: string, contentType: string): [string, Asset] {
  return [`/assets/${name}`, { contentType, read: () => pageFile(name) }];
}

/** The folder is beside this file as it is beside the bundle. */
function pageFile(name: string): Buffer {
  return readFileSync(new URL(`./dashboard/${name}`, import.meta.url));
}

/** The build puts the players beside the page; from source they are in their packages. */
function player(name: string): Buffer {
  const bundled = new URL(`./dashboard/${name}`, import.meta.url);
  return readFileSync(existsSync(bundled) ? bundled : createRequire(import.meta.url).resolve(PLAYERS[name] as string));
}
