import { plural, timeOf } from './format.js';
import { element, setAttribute, setShown, setText } from './page.js';

const LEVELS = { info: 'Info', warn: 'Warning', error: 'Error' };

/** What the publisher logged, the newest first. */
export class EventLogView {
  #model;
  #entries = new Map();
  #channels = new Set();
  #unseen = 0;

  constructor(model) {
    this.#model = model;
    // Nothing in it takes the focus, and it must be scrolled by keyboard too.
    element('log-panel').tabIndex = 0;
    for (const id of ['events-channel', 'events-level']) element(id).addEventListener('input', () => this.#filter());
  }

  /** Nothing is unseen while it is in sight. */
  seen() {
    this.#unseen = 0;
    this.#showUnseen();
  }

  update(fresh, isInSight) {
    const kept = new Set(this.#model.events.map(({ id }) => id));
    for (const [id, entry] of this.#entries) {
      if (kept.has(id)) continue;
      entry.remove();
      this.#entries.delete(id);
    }
    for (const event of this.#model.events) if (!this.#entries.has(event.id)) this.#add(event);
    if (!isInSight) this.#unseen += fresh.filter(({ level }) => level === 'error').length;
    this.#showUnseen();
    this.#showEmpty();
  }

  #add(event) {
    const entry = document.createElement('li');
    entry.dataset.level = event.level;
    entry.dataset.channel = event.channel ?? '';
    for (const [name, text] of [
      ['entry-at', timeOf(event.at)],
      ['entry-level', LEVELS[event.level]],
      ['entry-text', event.text],
    ]) {
      const part = document.createElement('span');
      part.className = name;
      part.textContent = text;
      entry.append(part);
    }
    this.#entries.set(event.id, entry);
    this.#offer(event.channel);
    setShown(entry, this.#matches(entry));
    element('log').prepend(entry);
  }

  #offer(channel) {
    if (!channel || this.#channels.has(channel)) return;
    this.#channels.add(channel);
    element('events-channel').append(new Option(channel, channel));
  }

  #matches({ dataset: { level, channel } }) {
    const wanted = element('events-channel').value;
    return (wanted === '' || wanted === channel) && (element('events-level').value === 'info' || level !== 'info');
  }

  #filter() {
    for (const entry of this.#entries.values()) setShown(entry, this.#matches(entry));
    this.#showEmpty();
  }

  #showEmpty() {
    const { missed } = this.#model;
    const isEmpty = ![...this.#entries.values()].some((entry) => !entry.hidden);
    const none = this.#entries.size > 0 ? 'No event matches.' : 'Nothing has been logged yet.';
    setText(element('log-empty'), isEmpty ? none : `${plural(missed, 'event')} were missed while this page was away.`);
    setShown(element('log-empty'), isEmpty || missed > 0);
  }

  #showUnseen() {
    setShown(element('events-count'), this.#unseen > 0);
    setText(element('events-count'), this.#unseen > 0 ? String(this.#unseen) : '');
    setAttribute(element('events-count'), 'title', this.#unseen > 0 ? plural(this.#unseen, 'new error') : '');
  }
}
