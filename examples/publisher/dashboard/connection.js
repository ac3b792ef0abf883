import { timeOf } from './format.js';
import { announce, element, setAttribute, setShown, setText } from './page.js';

const POLL_MS = 2_000;
const FIRST_RETRY_MS = 1_000;
const SLOWEST_RETRY_MS = 15_000;
/** Without a snapshot for so long it is asked for too: it may be kept back by a proxy, or be large and the link slow. */
const POLL_BESIDE_MS = 5_000;
/** The first is heard of only when all of it came. */
const FIRST_SILENCE_MS = 30_000;
/** A stream says something every 5 s: one that does not is kept back by a proxy, or its host was lost without a word. */
const SILENCE_MS = 15_000;
const ANSWER_SILENCE_MS = 10_000;
const PARTS = ['publisher', 'tuners', 'locks', 'orphans', 'pushes'];

/**
 * Follows the publisher by server-sent events. While they can't be had it asks once in a while what they would tell, and
 * tries again at growing intervals; it goes on after the last event of the log that it knows.
 */
export class Connection {
  #model;
  #onChange;
  #source;
  #pollTimer;
  #retryTimer;
  #silenceTimer;
  #retryMs = FIRST_RETRY_MS;
  #polling = false;
  /** Whether a snapshot came by the stream that is open. */
  #isLive = false;
  #wasDown = false;
  #downSince;
  #lastAnswerAt;

  /** @param onChange is told which parts of the model changed */
  constructor(model, onChange) {
    this.#model = model;
    this.#onChange = onChange;
    document.addEventListener('visibilitychange', () => (document.hidden ? this.pause() : this.open()));
  }

  /** A page that nobody sees asks nothing. */
  pause() {
    clearTimeout(this.#pollTimer);
    this.#close();
  }

  #close() {
    for (const timer of [this.#retryTimer, this.#silenceTimer]) clearTimeout(timer);
    this.#source?.close();
    this.#source = undefined;
    this.#isLive = false;
  }

  open() {
    this.#close();
    const after = this.#model.lastEventId;
    const source = new EventSource(`/api/events${after ? `?after=${encodeURIComponent(after)}` : ''}`);
    this.#source = source;
    const hear = (event, take) =>
      source.addEventListener(event, ({ data }) => {
        if (source !== this.#source) return;
        this.#expectMore(SILENCE_MS);
        take(JSON.parse(data));
      });
    hear('snapshot', (overview) => this.#took(overview));
    hear('channels', (changes) => {
      this.#model.change(changes);
      this.#onChange('channels', changes.changed);
    });
    for (const part of PARTS) {
      hear(part, (value) => {
        this.#model[part] = value;
        this.#onChange(part);
      });
    }
    let told = after;
    hear('event', (event) => {
      told = event.id;
      this.#hear([event]);
    });
    hear('missed', ({ missed }) => this.#miss(missed, told));
    hear('heartbeat', () => {});
    this.#expectMore(FIRST_SILENCE_MS);
    this.#pollIn(POLL_BESIDE_MS);
    source.onerror = () => source === this.#source && this.#failed();
  }

  #expectMore(withinMs) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#failed(), withinMs);
  }

  #took(overview) {
    this.#isLive = true;
    this.#retryMs = FIRST_RETRY_MS;
    clearTimeout(this.#pollTimer);
    this.#answered(overview, 'live', 'Live');
  }

  /** The browser would try again by itself, but at the same pace for ever. */
  #failed() {
    this.#close();
    if (document.hidden) return;
    this.#retryTimer = setTimeout(() => this.open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, SLOWEST_RETRY_MS);
    this.#poll();
  }

  #pollIn(delayMs) {
    clearTimeout(this.#pollTimer);
    this.#pollTimer = setTimeout(() => this.#poll(), delayMs);
  }

  async #poll() {
    clearTimeout(this.#pollTimer);
    if (this.#polling || document.hidden) return;
    this.#polling = true;
    try {
      const after = this.#model.lastEventId;
      const overview = await getJson(`/api/overview${after ? `?after=${encodeURIComponent(after)}` : ''}`);
      if (this.#isLive) return;
      this.#miss(overview.missed, after);
      this.#hear(overview.events);
      this.#answered(overview, 'polling', 'Polling');
    } catch (error) {
      if (!this.#isLive) this.#unanswered(error);
    } finally {
      this.#polling = false;
    }
    if (!this.#isLive && !document.hidden) this.#pollIn(POLL_MS);
  }

  #hear(events) {
    if (events.length === 0) return;
    this.#model.addEvents(events);
    this.#onChange('events', events);
  }

  /** A stream and a poll may both tell what was missed after the same event: it counts while that is the last one known. */
  #miss(count, after) {
    if (!count || after !== this.#model.lastEventId) return;
    this.#model.missed += count;
    this.#onChange('events', []);
  }

  #answered(overview, state, text) {
    this.#downSince = undefined;
    this.#lastAnswerAt = new Date();
    this.#model.take(overview);
    if (this.#wasDown) announce('The publisher answers again.');
    this.#wasDown = false;
    this.#show(state, text);
    this.#onChange('snapshot');
  }

  #unanswered(error) {
    this.#downSince ??= new Date();
    const since = timeOf(this.#downSince);
    const kept = this.#lastAnswerAt
      ? `What you see is from ${timeOf(this.#lastAnswerAt)}.`
      : 'Nothing has been read from it yet.';
    const outage = `The publisher was lost at ${since}: ${error.message}. ${kept} This page keeps trying.`;
    setText(element('outage-text'), outage);
    if (!this.#wasDown) announce(outage);
    this.#wasDown = true;
    this.#show('down', `Unreachable since ${since}`);
    if (!this.#lastAnswerAt) this.#onChange('unread');
  }

  #show(state, text) {
    setAttribute(element('connection'), 'data-state', state);
    setText(element('connection-text'), text);
    setShown(element('outage'), state === 'down');
    document.body.classList.toggle('stale', state === 'down' && this.#lastAnswerAt !== undefined);
  }
}

/** Waits for however long it takes, as long as more comes. */
async function getJson(path) {
  const silence = new AbortController();
  let timer;
  const expectMore = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), ANSWER_SILENCE_MS);
  };
  expectMore();
  try {
    return await readJson(path, silence.signal, expectMore);
  } catch (error) {
    throw silence.signal.aborted ? new Error(`nothing came for ${ANSWER_SILENCE_MS / 1_000} s`) : error;
  } finally {
    clearTimeout(timer);
  }
}

async function readJson(path, signal, onChunk) {
  const response = await fetch(path, { cache: 'no-store', signal }).catch(() => {
    throw new Error('it does not answer');
  });
  if (!response.ok) throw new Error(`it answers ${path} with ${response.status} ${response.statusText}`.trim());
  const transform = (chunk, controller) => {
    onChunk();
    controller.enqueue(chunk);
  };
  const heard = response.body.pipeThrough(new TransformStream({ transform }));
  return new Response(heard).json().catch(() => {
    throw new Error(`its answer to ${path} broke off or is not JSON`);
  });
}
