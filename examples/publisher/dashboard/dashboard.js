// The publisher's dashboard: polls /api/channels and /api/tuners, draws them, and plays a channel through mpegts.js.
import { ChannelList } from './channel-list.js';
import { Connection } from './connection.js';
import { element } from './page.js';
import { Player } from './player.js';

const player = new Player(() => list.showPlaying());
const list = new ChannelList(player);
const connection = new Connection(list);

element('stop').addEventListener('click', () => list.focus(player.stop()));
setInterval(() => player.tick(), 1_000);
addEventListener('pagehide', () => player.stop());
addEventListener('pageshow', ({ persisted }) => persisted && connection.poll());
connection.poll();
