import { bitrateOf, countOf, durationOf, timeOf } from './format.js';
import { announce, fromTemplate, setAttribute, setShown, setText } from './page.js';
import { Rate } from './rate.js';

const TRACE_SAMPLES = 60;

export const STATES = { idle: 'Idle', opening: 'Opening', live: 'Live', closing: 'Closing', closed: 'Closed' };

/** This publisher takes the lock before it opens a source, so a holder is another process only while ours is not open. */
const heldByUs = (channel) => ['opening', 'live', 'closing'].includes(channel.state);

export class ChannelCard {
  #parts = fromTemplate('card-template');
  #in = new Rate();
  #out = new Rate();
  #trace = [];
  #channel;
  /** Bits per second at the last update; undefined until there are two readings. */
  rates = { in: undefined, out: undefined };

  constructor(channel, player) {
    const { play, copy, url } = this.#parts;
    this.#channel = channel;
    play.addEventListener('click', () => {
      if (player.channelId === this.#channel.id) player.stop();
      else player.play(this.#channel);
    });
    url.addEventListener('focus', () => url.select());
    copy.addEventListener('click', () => this.#copy());
  }

  get root() {
    return this.#parts.root;
  }

  get channel() {
    return this.#channel;
  }

  matches(text) {
    return `${this.#channel.number ?? ''} ${this.#channel.name}`.toLowerCase().includes(text);
  }

  focus() {
    this.#parts.play.focus({ preventScroll: true });
  }

  update(channel, nowMs) {
    const parts = this.#parts;
    this.#channel = channel;
    this.rates = { in: this.#in.add(nowMs, channel.bytesIn), out: this.#out.add(nowMs, channel.bytesOut) };
    const active = heldByUs(channel);
    const unavailable = channel.available === false && !active;
    const state = unavailable ? 'unavailable' : channel.state;
    const url = new URL(channel.url, location.href).href;

    setAttribute(parts.root, 'data-state', state);
    setText(parts.number, channel.number ?? '');
    setText(parts.name, channel.name);
    const onAir =
      channel.state === 'live' && channel.liveSince ? ` for ${durationOf(nowMs - Date.parse(channel.liveSince))}` : '';
    setText(parts['state-text'], unavailable ? 'Not available' : `${STATES[channel.state] ?? channel.state}${onAir}`);
    setAttribute(parts['state-icon'], 'href', `#state-${state}`);
    setText(parts.viewers, countOf(channel.viewers));
    setText(parts.in, active ? bitrateOf(this.rates.in) : '–');
    setText(parts.out, active ? bitrateOf(this.rates.out) : '–');
    setText(parts.source, channel.source ?? '–');
    setAttribute(parts.url, 'value', url);
    setAttribute(parts.copy, 'aria-label', `Copy the stream address of ${channel.name}`);
    this.#drawTrace(active ? (this.rates.in ?? 0) : 0);
    this.#showHolder(channel);
    this.#showError(channel.lastError);
  }

  showPlaying(playing) {
    const parts = this.#parts;
    const word = playing ? 'Stop' : 'Play';
    parts.root.classList.toggle('playing', playing);
    setText(parts['play-text'], word);
    setAttribute(parts.play, 'aria-label', `${word} ${this.#channel.name}`);
    setAttribute(parts['play-icon'], 'href', playing ? '#icon-stop' : '#icon-play');
  }

  #showHolder(channel) {
    const parts = this.#parts;
    const { holder } = channel;
    setShown(parts.nobody, !holder);
    setShown(parts.holder, Boolean(holder));
    setShown(parts.orphan, holder?.orphanOf !== undefined);
    parts.root.classList.toggle('held-by-another', Boolean(holder) && !heldByUs(channel));
    if (!holder) return;
    const children = holder.children?.length ? ` Also held by its children ${holder.children.join(', ')}.` : '';
    const program = holder.command.split(/\s/, 1)[0].split('/').at(-1);
    setText(parts.owner, heldByUs(channel) ? 'this publisher' : 'another process');
    setText(parts['holder-brief'], `${program}, pid ${holder.pid}, since ${timeOf(holder.startedAt)}`);
    setText(parts.command, holder.command);
    setText(
      parts['holder-more'],
      `On ${holder.host}, known from ${holder.verified}. Lock ${holder.path ?? 'without a file'}.${children}`,
    );
    setText(parts.orphan, `Left behind by process ${holder.orphanOf}, which is gone. It still holds the source.`);
  }

  #showError(error) {
    const parts = this.#parts;
    parts.error.classList.toggle('has-error', Boolean(error));
    setText(parts['error-at'], error ? timeOf(error.at) : '');
    setText(parts['error-title'], error ? error.title : 'none');
    setText(parts['error-detail'], error?.detail ?? '');
  }

  #drawTrace(rate) {
    this.#trace.push(rate);
    if (this.#trace.length > TRACE_SAMPLES) this.#trace.shift();
    const top = Math.max(...this.#trace, 1);
    const first = TRACE_SAMPLES - this.#trace.length;
    const points = this.#trace.map((value, index) => `${first + index},${(19 - (value / top) * 17).toFixed(1)}`);
    this.#parts.trace.setAttribute('points', points.join(' '));
  }

  async #copy() {
    const { url } = this.#parts;
    const copied = await copyFrom(url);
    setText(this.#parts['copy-text'], copied ? 'Copied' : 'Ctrl+C');
    announce(
      copied ? `Stream address of ${this.#channel.name} copied` : 'The address is selected: press Ctrl+C to copy it',
    );
    setTimeout(() => setText(this.#parts['copy-text'], 'Copy'), 2_000);
  }
}

/** Only a secure context (https or localhost) has a clipboard; elsewhere the old command still works from a click. */
async function copyFrom(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.select();
    return document.execCommand('copy');
  }
}
