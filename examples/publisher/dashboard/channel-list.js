import { ChannelCard } from './channel-card.js';
import { isFaulty, stateOf } from './channel-words.js';
import { Favourites } from './favourites.js';
import { bitrateOf, countOf } from './format.js';
import { element, place, setAttribute, setShown, setText } from './page.js';

const ORDERS = {
  lineup: () => 0,
  name: (a, b) => a.view.name.localeCompare(b.view.name, undefined, { numeric: true }),
  viewers: (a, b) => b.view.viewers - a.view.viewers,
  bitrate: (a, b) => (b.rates.in ?? 0) - (a.rates.in ?? 0),
};

const EMPTY = {
  favourites: ['No favourite yet', 'Mark a channel with the star on its card.'],
  live: ['Nothing is on air', 'A channel is opened when somebody watches it.'],
  faulty: ['No fault', 'Every channel can be watched.'],
};

/** The cards of all channels: those that match, in the order that was chosen. */
export class ChannelList {
  #cards = new Map();
  #favourites = new Favourites();
  #model;
  #actions;

  constructor(model, actions) {
    this.#model = model;
    this.#actions = { ...actions, star: (id) => this.#star(id) };
    for (const id of ['filter', 'which', 'order']) element(id).addEventListener('input', () => this.arrange());
    element('total-faults').addEventListener('click', () => this.#showFaulty());
  }

  get cards() {
    return this.#cards;
  }

  /** @param changed the views that differ; all of them if left out */
  update(changed = this.#model.list.map(({ view }) => view)) {
    const { channels, nowMs } = this.#model;
    for (const id of this.#cards.keys()) if (!channels.has(id)) this.#cards.delete(id);
    for (const { id } of changed) {
      if (!channels.has(id)) continue;
      if (!this.#cards.has(id)) this.#add(id);
      this.#cards.get(id).update(nowMs);
    }
    setAttribute(element('cards'), 'aria-busy', 'false');
    this.arrange();
    this.#showTotals();
  }

  tick() {
    const { nowMs } = this.#model;
    for (const card of this.#cards.values()) {
      const { state, refusal } = card.model.view;
      if (refusal || state === 'live') card.tick(nowMs);
    }
  }

  showPlaying(channelId) {
    for (const card of this.#cards.values()) card.showPlaying(card.id === channelId);
  }

  focus(channelId) {
    this.#cards.get(channelId)?.focus();
  }

  /** Puts in place what is to be seen. */
  arrange() {
    const text = element('filter').value.trim().toLowerCase();
    const which = element('which').value;
    const models = this.#model.list.filter((model) => matches(model, text) && this.#isAmong(model, which));
    const order = element('order').value;
    if (order !== 'lineup') models.sort(ORDERS[order]);
    place(element('cards'), models.map(({ view }) => this.#cards.get(view.id)?.root).filter(Boolean));
    if (models.length > 0) showNotice();
    else if (text)
      showNotice(`No channel matches “${element('filter').value.trim()}”`, 'Clear the filter to see all channels.');
    else if (EMPTY[which]) showNotice(...EMPTY[which]);
    else
      showNotice(
        'No channel yet',
        'Start the publisher with --device and the address of a tuner, or with --source id=url.',
      );
  }

  #add(id) {
    const card = new ChannelCard(this.#model.channels.get(id), this.#actions);
    this.#cards.set(id, card);
    card.showStar(this.#isFavourite(card.model));
  }

  #isFavourite({ view }) {
    return this.#favourites.has(view.id, view.favorite);
  }

  #star(id) {
    const card = this.#cards.get(id);
    this.#favourites.set(id, !this.#isFavourite(card.model));
    card.showStar(this.#isFavourite(card.model));
    this.arrange();
  }

  #isAmong(model, which) {
    if (which === 'favourites') return this.#isFavourite(model);
    if (which === 'live') return ['live', 'opening'].includes(stateOf(model.view));
    return which !== 'faulty' || isFaulty(model.view);
  }

  #showFaulty() {
    element('which').value = 'faulty';
    this.arrange();
    location.hash = '#channels';
    element('channels').focus();
  }

  #showTotals() {
    const list = this.#model.list;
    showFaults(list.filter(({ view }) => isFaulty(view)).length);
    const sum = (pick) => list.reduce((total, model) => total + (pick(model) ?? 0), 0);
    setText(element('total-live'), `${sum(({ view }) => Number(view.state === 'live'))} of ${countOf(list.length)}`);
    setText(element('total-viewers'), countOf(sum(({ view }) => view.viewers)));
    setText(element('total-in'), bitrateOf(sum(({ rates }) => rates.in)));
    setText(element('total-out'), bitrateOf(sum(({ rates }) => rates.out)));
  }
}

function showFaults(count) {
  const button = element('total-faults');
  setText(button, count > 0 ? countOf(count) : 'None');
  button.disabled = count === 0;
  if (count > 0) setAttribute(button, 'aria-label', `${countOf(count)} with a fault: show them`);
  else button.removeAttribute('aria-label');
}

function matches({ view }, text) {
  const { now, next } = view.programme ?? {};
  return [view.number, view.name, view.id, now?.title, next?.title].join(' ').toLowerCase().includes(text);
}

export function showNotice(title, detail = '') {
  setShown(element('channels-note'), title !== undefined);
  setText(element('channels-note-title'), title ?? '');
  setText(element('channels-note-detail'), detail);
}
