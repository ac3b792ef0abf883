import { Rate } from './rate.js';

const TRACE_SAMPLES = 60;
const EVENTS_KEPT = 500;

/** A channel that a source is read for, or is about to be. */
export const isActive = (channel) => ['opening', 'live', 'closing'].includes(channel.state);

/** Each with figures that only the page knows: the rates, and the last of them. */
class ChannelModel {
  #in = new Rate();
  #out = new Rate();
  rates = { in: undefined, out: undefined };
  trace = [];
  view;

  update(view, nowMs) {
    this.view = view;
    this.rates = { in: this.#in.add(nowMs, view.bytesIn), out: this.#out.add(nowMs, view.bytesOut) };
    this.trace.push(isActive(view) ? (this.rates.in ?? 0) : 0);
    if (this.trace.length > TRACE_SAMPLES) this.trace.shift();
  }
}

/** What the publisher said last. It changes by `take` (a snapshot) and `change` (what differs from it). */
export class Model {
  channels = new Map();
  order = [];
  publisher;
  tuners = [];
  locks = [];
  orphans = [];
  pushes = [];
  events = [];
  missed = 0;
  /** How far the clock of the publisher is before that of this browser. */
  #aheadMs = 0;

  /** The time by the publisher's clock. */
  get nowMs() {
    return Date.now() + this.#aheadMs;
  }

  get lastEventId() {
    return this.events.at(-1)?.id;
  }

  get list() {
    return this.order.map((id) => this.channels.get(id)).filter(Boolean);
  }

  take(overview) {
    const { now, channels, publisher, tuners, locks, orphans, pushes } = overview;
    Object.assign(this, { publisher, tuners, locks, orphans, pushes });
    this.change({ now, changed: channels, order: channels.map(({ id }) => id) });
  }

  change({ now, changed, order }) {
    const nowMs = Date.parse(now);
    this.#aheadMs = nowMs - Date.now();
    for (const view of changed) {
      if (!this.channels.has(view.id)) this.channels.set(view.id, new ChannelModel());
      this.channels.get(view.id).update(view, nowMs);
    }
    if (!order) return;
    this.order = order;
    const listed = new Set(order);
    for (const id of this.channels.keys()) if (!listed.has(id)) this.channels.delete(id);
  }

  addEvents(events) {
    const known = new Set(this.events.map(({ id }) => id));
    this.events.push(...events.filter(({ id }) => !known.has(id)));
    this.events.splice(0, Math.max(0, this.events.length - EVENTS_KEPT));
  }
}
