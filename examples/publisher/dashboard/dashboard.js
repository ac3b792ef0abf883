// The publisher's dashboard: polls /api/channels and /api/tuners, draws them, and plays a channel through mpegts.js.
// Whatever the server says reaches the page as text or as an attribute's value, never as markup.

const POLL_MS = 1_000;
const SLOWEST_POLL_MS = 5_000;
const REQUEST_TIMEOUT_MS = 5_000;
/** Long enough to smooth the bursts of a source, short enough to show a stall. */
const RATE_WINDOW_MS = 4_000;
const TRACE_SAMPLES = 60;
/** Bytes have come for this long and still no picture: the browser knows none of the stream's codecs. */
const DECODE_TIMEOUT_MS = 10_000;
const FILTER_FROM_CHANNELS = 9;

const mpegts = window.mpegts;
const element = (id) => document.getElementById(id);
const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
const setAttribute = (node, name, value) => {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
};
const setShown = (node, shown) => {
  if (node.hidden === shown) node.hidden = !shown;
};
const fromTemplate = (id) => {
  const root = element(id).content.firstElementChild.cloneNode(true);
  const parts = { root };
  for (const node of root.querySelectorAll('[data-part]')) parts[node.dataset.part] = node;
  return parts;
};

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const dayAndClock = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const count = new Intl.NumberFormat();
const threeDigits = new Intl.NumberFormat(undefined, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

const timeOf = (when) => {
  const date = new Date(when);
  if (Number.isNaN(date.getTime())) return 'an unknown time';
  return (date.toDateString() === new Date().toDateString() ? clock : dayAndClock).format(date);
};

const bitrateOf = (bitsPerSecond) => {
  if (bitsPerSecond === undefined) return '–';
  if (bitsPerSecond < 1_000) return '0 kbit/s';
  if (bitsPerSecond < 999_500) return `${Math.round(bitsPerSecond / 1_000)} kbit/s`;
  return `${threeDigits.format(bitsPerSecond / 1_000_000)} Mbit/s`;
};

const durationOf = (ms) => {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
};

const plural = (n, word) => `${count.format(n)} ${word}${n === 1 ? '' : 's'}`;

/** Bits per second from readings of a byte counter; a counter that runs backwards started anew. */
class Rate {
  #readings = [];

  /** @returns the rate, or undefined until there are two readings */
  add(atMs, bytes) {
    const last = this.#readings.at(-1);
    if (last && bytes < last.bytes) this.#readings = [];
    if (last && atMs <= last.atMs) return this.#value();
    this.#readings.push({ atMs, bytes });
    while (this.#readings.length > 2 && atMs - this.#readings[0].atMs > RATE_WINDOW_MS) this.#readings.shift();
    return this.#value();
  }

  #value() {
    const [first, last] = [this.#readings[0], this.#readings.at(-1)];
    if (!first || first === last) return undefined;
    return ((last.bytes - first.bytes) * 8_000) / (last.atMs - first.atMs);
  }
}

const announce = (text) => setText(element('announcer'), text);

const REASONS = {
  404: 'There is no such channel',
  409: 'Another process holds this source',
  429: 'Too many viewers',
  502: 'The source failed',
  503: 'No tuner is free',
  504: 'The source did not start in time',
};

/** The server's own words for a refusal (RFC 9457), or the best that its status code allows. */
async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  return {
    title: problem.title ?? REASONS[response.status] ?? `The publisher refused: ${response.status}`,
    detail: problem.detail ?? `HTTP ${response.status} ${response.statusText}`,
    retryAfter: Number(response.headers.get('Retry-After')) || undefined,
  };
}

/**
 * Unlike mpegts.js's own loader, it keeps the body of a refusal, and abort() ends the connection at once: theirs waits in
 * Chromium for the next chunk, which never comes from a stalled source, so the tuner would stay taken.
 */
const channelLoader = (onFirstByte) =>
  class extends mpegts.BaseLoader {
    #controller = new AbortController();

    constructor() {
      super('channel-loader');
      this._needStash = true;
    }

    async open(dataSource, range) {
      const { signal } = this.#controller;
      this._status = mpegts.LoaderStatus.kConnecting;
      try {
        const response = await fetch(dataSource.url, { signal, cache: 'no-store' });
        if (!response.ok) {
          const problem = await problemOf(response);
          if (!signal.aborted) this.#fail('HTTP_STATUS_CODE_INVALID', response.status, problem);
          return;
        }
        this._status = mpegts.LoaderStatus.kBuffering;
        let received = 0;
        for (const reader = response.body.getReader(); ; ) {
          const { done, value } = await reader.read();
          if (signal.aborted) return;
          if (done) break;
          if (received === 0) onFirstByte();
          const start = range.from + received;
          received += value.byteLength;
          const whole = value.byteLength === value.buffer.byteLength;
          this.onDataArrival?.(whole ? value.buffer : value.slice().buffer, start, received);
        }
        this._status = mpegts.LoaderStatus.kComplete;
        this.onComplete?.(range.from, range.from + received - 1);
      } catch (error) {
        if (!signal.aborted) this.#fail('EXCEPTION', -1, { title: 'The connection was lost', detail: error.message });
      }
    }

    abort() {
      this._status = mpegts.LoaderStatus.kComplete;
      this.#controller.abort();
    }

    destroy() {
      this.abort();
      super.destroy();
    }

    #fail(kind, code, problem) {
      this._status = mpegts.LoaderStatus.kError;
      this.onError?.(mpegts.LoaderErrors[kind], { code, msg: problem.title, problem });
    }
  };

/** Plays one channel at a time. Opening, switching and stopping all close the former connection before anything else. */
class Player {
  #section = element('player');
  #video = element('video');
  #onChange;
  #engine;
  #channel;
  #phase = 'idle';
  #firstByteAtMs;

  constructor(onChange) {
    this.#onChange = onChange;
    const video = this.#video;
    video.addEventListener('playing', () => this.#engine && this.#show('playing'));
    video.addEventListener('waiting', () => this.#phase === 'playing' && this.#show('stalled'));
    video.addEventListener('volumechange', () => this.#showSound());
    element('retry').addEventListener('click', () => {
      this.play(this.#channel);
      element('stop').focus();
    });
    element('sound').addEventListener('click', () => {
      video.muted = !video.muted;
    });
    element('full').addEventListener('click', () => element('screen').requestFullscreen?.());
    // A browser may pause a muted video in a hidden tab.
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.#engine && video.paused) this.#start();
    });
  }

  /** The id of the channel that is open or opening here. */
  get channelId() {
    return this.#engine && this.#channel.id;
  }

  play(channel) {
    this.#close();
    this.#channel = channel;
    if (!mpegts?.getFeatureList().mseLivePlayback) {
      const detail = 'Paste its stream address into VLC or ffplay instead.';
      this.#show('failed', { title: 'This browser cannot play MPEG-TS', detail });
      return;
    }
    // Each loader class belongs to one opening, so that a byte still in flight can't start the next one's clock.
    const onFirstByte = () => {
      this.#firstByteAtMs = performance.now();
    };
    const engine = mpegts.createPlayer(
      { type: 'mpegts', isLive: true, url: new URL(channel.url, location.href).href },
      {
        customLoader: channelLoader(onFirstByte),
        enableWorker: false,
        enableStashBuffer: false,
        lazyLoad: false,
        liveBufferLatencyChasing: true,
        autoCleanupSourceBuffer: true,
        autoCleanupMaxBackwardDuration: 30,
        autoCleanupMinBackwardDuration: 10,
      },
    );
    // Events are delivered late now and then: those of an engine that was replaced say nothing about this one.
    const current =
      (handle) =>
      (...args) =>
        engine === this.#engine && handle(...args);
    engine.on(
      mpegts.Events.ERROR,
      current((type, _detail, info) => this.#fail(type, info)),
    );
    engine.on(
      mpegts.Events.LOADING_COMPLETE,
      current(() => this.#ended()),
    );
    this.#engine = engine;
    this.#video.muted = true;
    this.#show('opening');
    engine.attachMediaElement(this.#video);
    engine.load();
    this.#start();
  }

  /**
   * Closes the connection, which frees the tuner if nobody else watches.
   *
   * @returns the id of the channel that played
   */
  stop() {
    const channelId = this.channelId;
    this.#close();
    this.#show('idle');
    return channelId;
  }

  /** Once per second: figures, and the one failure that no event reports. */
  tick() {
    if (!this.#engine) return;
    if (this.#phase === 'opening' && performance.now() - this.#firstByteAtMs > DECODE_TIMEOUT_MS) {
      const detail = 'Its video or audio may be MPEG-2, HEVC or AC-3. VLC and ffplay play them.';
      this.#giveUp({ title: 'The stream arrives, but this browser shows no picture', detail });
      return;
    }
    if (this.#phase !== 'playing') return;
    const { videoWidth, videoHeight, buffered, currentTime } = this.#video;
    const ahead = buffered.length > 0 ? buffered.end(buffered.length - 1) - currentTime : 0;
    const size = videoWidth > 0 ? `${videoWidth} × ${videoHeight}` : 'sound only';
    setText(element('player-facts'), `${size} · ${Math.max(0, ahead).toFixed(1)} s buffered`);
  }

  #start() {
    this.#video.play().catch(() => {}); // refused only because a stop or a switch came first
  }

  #close() {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#firstByteAtMs = undefined;
    engine?.destroy();
  }

  #fail(type, info) {
    const media = {
      title: 'This browser cannot decode the stream',
      detail: `${info?.msg ?? type}. VLC and ffplay may play it.`,
    };
    this.#giveUp(info?.problem ?? media);
  }

  #ended() {
    this.#giveUp({
      title: 'The stream ended',
      detail: 'The publisher closed it. The last error of the channel may say why.',
    });
  }

  #giveUp(problem) {
    this.#close();
    this.#show('failed', problem);
  }

  #show(phase, problem) {
    const name = this.#channel?.name;
    const covers = {
      idle: ['screen', 'Nothing is playing', 'Press Play on a channel to watch it here.'],
      opening: ['wait', `Opening ${name}`, 'The first picture takes a moment when nobody watches yet.'],
      stalled: ['wait', `Waiting for ${name}`, 'Nothing has come from the source for a moment.'],
      playing: ['screen', '', ''],
      failed: ['fault', problem?.title, problem?.detail],
    };
    const facts = { opening: 'Opening…', stalled: 'Waiting for data…', playing: 'Live', failed: 'Stopped' };
    const [icon, title, detail] = covers[phase];
    this.#phase = phase;
    setAttribute(this.#section, 'data-phase', phase);
    setAttribute(element('cover-icon'), 'href', `#icon-${icon}`);
    setText(element('cover-title'), title);
    setText(element('cover-detail'), problem?.retryAfter ? `${detail} Try again in ${problem.retryAfter} s.` : detail);
    setShown(element('retry'), phase === 'failed');
    setText(element('player-title'), phase === 'idle' ? 'Player' : name);
    setText(element('player-facts'), facts[phase] ?? 'Muted until you turn the sound on');
    const open = this.#engine !== undefined;
    const focusIsLost = !open && document.activeElement === element('stop');
    for (const id of ['stop', 'sound', 'full']) element(id).disabled = !open;
    if (focusIsLost && phase === 'failed') element('retry').focus();
    this.#video.setAttribute('aria-label', open ? `Live picture of ${name}` : 'Live picture');
    document.title = `${open ? `${name} · ` : 'Live channels · '}Holdfast publisher`;
    const said = { playing: `${name} is playing`, failed: `${title}. ${detail}` };
    announce(said[phase] ?? title);
    this.#onChange();
  }

  #showSound() {
    const on = !this.#video.muted;
    setAttribute(element('sound'), 'aria-pressed', String(on));
    setAttribute(element('sound-icon'), 'href', on ? '#icon-sound' : '#icon-muted');
  }
}

const STATES = { idle: 'Idle', opening: 'Opening', live: 'Live', closing: 'Closing', closed: 'Closed' };

/** This publisher takes the lock before it opens a source, so a holder is another process only while ours is not open. */
const heldByUs = (channel) => ['opening', 'live', 'closing'].includes(channel.state);

class ChannelCard {
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
    setText(parts.viewers, count.format(channel.viewers));
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

/** Puts nodes in order under a parent and removes the others, moving none that is already in place (it would lose focus). */
function place(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
}

class ChannelList {
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
    setText(element('total-viewers'), count.format(sum((card) => card.channel.viewers)));
    setText(element('total-in'), bitrateOf(sum((card) => card.rates.in)));
    setText(element('total-out'), bitrateOf(sum((card) => card.rates.out)));
  }
}

function showNotice(title, detail = '') {
  setShown(element('channels-note'), title !== undefined);
  setText(element('channels-note-title'), title ?? '');
  setText(element('channels-note-detail'), detail);
}

const deviceViews = new Map();

function showTuners({ devices }) {
  for (const device of devices) {
    if (!deviceViews.has(device.id)) deviceViews.set(device.id, fromTemplate('device-template'));
    showDevice(deviceViews.get(device.id), device);
  }
  place(
    element('devices'),
    devices.map((device) => deviceViews.get(device.id).root),
  );
  setAttribute(element('devices'), 'aria-busy', 'false');
  const tuners = devices.flatMap((device) => device.tuners);
  const used = tuners.filter((tuner) => tuner.inUse).length;
  setText(element('total-tuners'), tuners.length > 0 ? `${used} of ${tuners.length}` : '–');
  showTunersNote(
    devices.length === 0 ? 'No tuner is configured: channels come straight from their sources.' : undefined,
  );
}

function showTunersNote(text) {
  setShown(element('tuners-note'), text !== undefined);
  setText(element('tuners-note'), text ?? '');
}

function showDevice(parts, device) {
  const channels = Array.isArray(device.channels) ? device.channels.length : device.channels;
  const facts = [device.url];
  if (typeof channels === 'number') facts.push(plural(channels, 'channel'));
  if (device.refreshedAt) facts.push(`lineup read ${timeOf(device.refreshedAt)}`);
  setAttribute(parts.root, 'data-state', device.reachable ? 'live' : 'unavailable');
  setText(parts.id, device.id);
  setText(parts['state-text'], device.reachable ? 'Reachable' : 'Not reachable');
  setAttribute(parts['state-icon'], 'href', device.reachable ? '#state-live' : '#state-unavailable');
  setText(parts.facts, facts.join(' · '));
  const error = device.lastError?.title ? `${device.lastError.title}: ${device.lastError.detail}` : device.lastError;
  setShown(parts.error, Boolean(error));
  setText(parts.error, error ?? '');

  while (parts.tuners.children.length > device.tuners.length) parts.tuners.lastElementChild.remove();
  device.tuners.forEach((tuner, index) => {
    const row = parts.tuners.children[index] ?? parts.tuners.appendChild(tunerRow());
    const [name, use, target] = row.children;
    const channel = [tuner.channelNumber, tuner.channelName].filter(Boolean).join(' ') || 'In use';
    row.classList.toggle('in-use', tuner.inUse);
    setText(name, tuner.resource);
    setText(use, tuner.inUse ? channel : 'Free');
    setText(target, tuner.inUse && tuner.targetIp ? `to ${tuner.targetIp}` : '');
  });
}

function tunerRow() {
  const row = document.createElement('li');
  for (const name of ['tuner-name', 'tuner-use', 'tuner-target']) {
    row.appendChild(document.createElement('span')).className = name;
  }
  return row;
}

class Connection {
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

if (mpegts) mpegts.LoggingControl.enableAll = false; // what goes wrong is shown on the page
const player = new Player(() => list.showPlaying());
const list = new ChannelList(player);
const connection = new Connection(list);

element('stop').addEventListener('click', () => list.focus(player.stop()));
setInterval(() => player.tick(), 1_000);
addEventListener('pagehide', () => player.stop());
addEventListener('pageshow', ({ persisted }) => persisted && connection.poll());
connection.poll();
