// The bundled publisher serves these files; the player is bundled too, so that installing holdfast does not pull it.
import { copyFileSync, cpSync } from 'node:fs';
import { createRequire } from 'node:module';

const repository = new URL('../', import.meta.url);
const target = new URL('dist/publisher/dashboard/', repository);
cpSync(new URL('examples/publisher/dashboard/', repository), target, { recursive: true });
const player = createRequire(new URL('examples/package.json', repository)).resolve('mpegts.js/dist/mpegts.js');
copyFileSync(player, new URL('mpegts.js', target));
