import { showNotice } from './channel-list.js';
import { timeOf } from './format.js';
import { announce, element, place, setAttribute, setShown, setText } from './page.js';
import { showTuners, showTunersNote } from './tuners.js';

const POLL_MS = 1_000;
const SLOWEST_POLL_MS = 5_000;
const REQUEST_TIMEOUT_MS = 5_000;

export class Connection {
  #list;
  #timer;
  #polling = false;
  #wasDown = false;
  #downSince;
  #lastAnswerAt;
  #delayMs = POLL_MS;

  constructor(list) {
    this.#list = list;
    document.addEventListener('visibilitychange', () => (document.hidden ? this.pause() : this.poll()));
  }

  pause() {
    clearTimeout(this.#timer);
  }

  /** Asks now, and again a second after each answer for as long as the tab is visible. */
  async poll() {
    clearTimeout(this.#timer);
    if (this.#polling || document.hidden) return;
    this.#polling = true;
    try {
      const tuners = getJson('/api/tuners').then(showTuners, (error) => error);
      const snapshot = await getJson('/api/channels');
      const tunersError = await tuners;
      if (tunersError) showTunersNote(`The tuners could not be read: ${tunersError.message}`);
      this.#answered(snapshot);
    } catch (error) {
      this.#unanswered(error);
    } finally {
      this.#polling = false;
    }
    if (!document.hidden) this.#timer = setTimeout(() => this.poll(), this.#delayMs);
  }

  #answered(snapshot) {
    this.#delayMs = POLL_MS;
    this.#downSince = undefined;
    this.#lastAnswerAt = new Date();
    setShown(element('demo'), Boolean(snapshot.demo));
    const changes = this.#list.update(snapshot.channels, new Date(snapshot.now).getTime());
    if (this.#wasDown) changes.unshift('The publisher answers again');
    this.#wasDown = false;
    if (changes.length > 0) announce(`${changes.join('. ')}.`);
    this.#show('connected', 'Connected');
  }

  #unanswered(error) {
    this.#delayMs = Math.min(this.#delayMs * 2, SLOWEST_POLL_MS);
    this.#downSince ??= new Date();
    const since = timeOf(this.#downSince);
    const kept = this.#lastAnswerAt
      ? `What you see is from ${timeOf(this.#lastAnswerAt)}.`
      : 'Nothing has been read from it yet.';
    const outage = `The publisher was lost at ${since}: ${error.message}. ${kept} This page keeps trying.`;
    setText(element('outage-text'), outage);
    if (!this.#lastAnswerAt) {
      place(element('cards'), []);
      place(element('devices'), []);
      showTunersNote('The tuners could not be read.');
      showNotice(
        'The channels could not be read',
        'Is the publisher running? This page fills in as soon as it answers.',
      );
    }
    if (!this.#wasDown) announce(outage);
    this.#wasDown = true;
    this.#show('down', `Unreachable since ${since}`);
  }

  #show(state, text) {
    setAttribute(element('connection'), 'data-state', state);
    setText(element('connection-text'), text);
    setShown(element('outage'), state === 'down');
    document.body.classList.toggle('stale', state === 'down' && this.#lastAnswerAt !== undefined);
  }
}

async function getJson(path) {
  const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const response = await fetch(path, { cache: 'no-store', signal: timeout }).catch((error) => {
    throw new Error(
      error.name === 'TimeoutError' ? `no answer within ${REQUEST_TIMEOUT_MS / 1_000} s` : 'it does not answer',
    );
  });
  if (!response.ok) throw new Error(`it answers ${path} with ${response.status} ${response.statusText}`.trim());
  return response.json().catch(() => {
    throw new Error(`its answer to ${path} is not JSON`);
  });
}
