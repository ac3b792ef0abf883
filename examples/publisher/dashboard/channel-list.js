import { ChannelCard, STATES } from './channel-card.js';
import { bitrateOf, countOf } from './format.js';
import { element, place, setAttribute, setShown, setText } from './page.js';

const FILTER_FROM_CHANNELS = 9;

export class ChannelList {
  #cards = new Map();
  #player;

  constructor(player) {
    this.#player = player;
    element('filter').addEventListener('input', () => this.#filter());
  }

  /** @returns what changed, in words, for those who can't see it */
  update(channels, nowMs) {
    const changes = [];
    const cards = channels.map((channel) => {
      const known = this.#cards.get(channel.id);
      const card = known ?? new ChannelCard(channel, this.#player);
      if (known && known.channel.state !== channel.state && ['live', 'idle', 'closed'].includes(channel.state))
        changes.push(`${channel.name}: ${STATES[channel.state]}`);
      if (known && channel.lastError && known.channel.lastError?.at !== channel.lastError.at)
        changes.push(`${channel.name}: ${channel.lastError.title}`);
      card.update(channel, nowMs);
      return card;
    });
    this.#cards = new Map(cards.map((card) => [card.channel.id, card]));
    place(
      element('cards'),
      cards.map((card) => card.root),
    );
    setAttribute(element('cards'), 'aria-busy', 'false');
    setShown(element('filter-field'), cards.length >= FILTER_FROM_CHANNELS);
    this.showPlaying();
    this.#filter();
    this.#showTotals();
    return changes;
  }

  showPlaying() {
    for (const card of this.#cards.values()) card.showPlaying(card.channel.id === this.#player.channelId);
  }

  focus(channelId) {
    this.#cards.get(channelId)?.focus();
  }

  #filter() {
    const field = element('filter');
    const text = element('filter-field').hidden ? '' : field.value.trim().toLowerCase();
    let shown = 0;
    for (const card of this.#cards.values()) {
      const matches = card.matches(text);
      setShown(card.root, matches);
      if (matches) shown += 1;
    }
    if (shown > 0) showNotice();
    else if (text) showNotice(`No channel matches “${field.value.trim()}”`, 'Clear the filter to see all channels.');
    else
      showNotice(
        'No channel yet',
        'Start the publisher with --device and the address of a tuner, or with --source id=url.',
      );
  }

  #showTotals() {
    const cards = [...this.#cards.values()];
    const sum = (pick) => cards.reduce((total, card) => total + (pick(card) ?? 0), 0);
    setText(element('total-live'), `${sum((card) => Number(card.channel.state === 'live'))} of ${cards.length}`);
    setText(element('total-viewers'), countOf(sum((card) => card.channel.viewers)));
    setText(element('total-in'), bitrateOf(sum((card) => card.rates.in)));
    setText(element('total-out'), bitrateOf(sum((card) => card.rates.out)));
  }
}

export function showNotice(title, detail = '') {
  setShown(element('channels-note'), title !== undefined);
  setText(element('channels-note-title'), title ?? '');
  setText(element('channels-note-detail'), detail);
}
