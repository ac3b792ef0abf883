// The publisher's dashboard: follows /api/events, draws what it tells, and plays a channel.
import { ChannelDetails } from './channel-details.js';
import { ChannelList, showNotice } from './channel-list.js';
import { Connection } from './connection.js';
import { EventLogView } from './event-log.js';
import { Model } from './model.js';
import { Operator } from './operator.js';
import { element, place, setAttribute } from './page.js';
import { Player } from './player.js';
import { Previews } from './previews.js';
import { showSystem, tickSystem } from './system.js';
import { showTuners, showTunersNote } from './tuners.js';

const model = new Model();
const player = new Player(() => list.showPlaying(player.channelId));
const details = new ChannelDetails(model, new Operator(model));
const list = new ChannelList(model, {
  play: (view) => (player.channelId === view.id ? player.stop() : player.play(view)),
  details: (id) => details.open(id),
});
const log = new EventLogView(model);
const previews = new Previews(list);

const show = {
  snapshot() {
    list.update();
    list.showPlaying(player.channelId);
    player.know(model.channels.get(player.channelId)?.view);
    details.update();
    showTuners(model.tuners);
    showSystem(model);
  },
  channels(changed) {
    list.update(changed);
    player.know(model.channels.get(player.channelId)?.view);
    details.update();
  },
  events: (fresh) => log.update(fresh, isInSight('events')),
  tuners: () => showTuners(model.tuners),
  publisher: () => showSystem(model),
  locks: () => showSystem(model),
  orphans: () => showSystem(model),
  pushes: () => showSystem(model),
  unread() {
    place(element('cards'), []);
    place(element('devices'), []);
    showTunersNote('The tuners could not be read.');
    showNotice('The channels could not be read', 'Is the publisher running? This page fills in as soon as it answers.');
  },
};
const connection = new Connection(model, (part, value) => show[part](value));

const VIEWS = ['channels', 'system', 'events'];
const isInSight = (view) => element(view).checkVisibility();

/** Where there is no room for all of it, one view is shown at a time. */
function showView() {
  const wanted = location.hash.slice(1);
  const view = VIEWS.includes(wanted) ? wanted : 'channels';
  document.body.dataset.view = view;
  for (const link of document.querySelectorAll('.views a')) {
    if (link.hash === `#${view}`) setAttribute(link, 'aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (isInSight('events')) log.seen();
}

function tick() {
  player.tick();
  if (document.hidden) return;
  list.tick();
  details.tick();
  tickSystem(model);
  previews.tick();
}

addEventListener('hashchange', showView);
element('stop').addEventListener('click', () => list.focus(player.stop()));
setInterval(tick, 1_000);
addEventListener('pagehide', () => player.stop());
addEventListener('pageshow', ({ persisted }) => persisted && connection.open());
showView();
connection.open();
