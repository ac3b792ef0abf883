import { announce, element, setAttribute, setShown, setText } from './page.js';
import { mediaProblem } from './player-problems.js';
import { openWay, playsAsItComes, waysTo } from './player-ways.js';

/** Bytes have come for this long and still no picture: the browser knows none of the stream's codecs. */
const DECODE_TIMEOUT_MS = 10_000;
const FIRST = 'The first picture takes a moment when nobody watches yet.';
const CONVERTED = 'This browser can’t play it as it comes: the publisher converts it, which takes a moment more.';

/** Plays one channel at a time. Opening, switching and stopping all close the former connection before anything else. */
export class Player {
  #section = element('player');
  #video = element('video');
  #onChange;
  #engine;
  #channel;
  #phase = 'idle';
  #firstByteAtMs;
  /** The ways to play the channel, the best first, and which of them is tried. */
  #ways = [];
  #way = 0;

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
    // A phone may know only that of the picture itself.
    element('full').addEventListener('click', () =>
      element('screen').requestFullscreen ? element('screen').requestFullscreen() : video.webkitEnterFullscreen?.(),
    );
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
    this.#channel = channel;
    this.#ways = waysTo(channel);
    this.#open(0);
  }

  /** What is said of a channel now: what it is encoded with is known once it is read. */
  know(channel) {
    if (!channel || channel.id !== this.channelId) return;
    this.#channel = channel;
    if (this.#ways[this.#way].isAsItComes && !playsAsItComes(channel))
      this.#failed(mediaProblem(channel.codecs.join(', ')));
  }

  #open(way) {
    this.#close();
    this.#way = way;
    const chosen = this.#ways[way];
    if (!chosen) {
      const detail = 'Paste its stream address into VLC or ffplay instead.';
      this.#show('failed', { title: 'This browser cannot play live streams', detail });
      return;
    }
    // Events are delivered late now and then: those of an engine that was replaced say nothing about this one.
    const engine = openWay(chosen, this.#video, {
      firstByte: () => {
        if (engine === this.#engine) this.#firstByteAtMs ??= performance.now();
      },
      ready: () => engine === this.#engine && this.#start(),
      failed: (problem) => engine === this.#engine && this.#failed(problem),
    });
    this.#engine = engine;
    this.#show('opening');
    engine.load();
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
      const detail = 'VLC and ffplay may play it.';
      this.#failed({ title: 'The stream arrives, but this browser shows no picture', detail, isOfBrowser: true });
      return;
    }
    if (this.#phase !== 'playing') return;
    const { videoWidth, videoHeight, buffered, currentTime } = this.#video;
    const ahead = buffered.length > 0 ? buffered.end(buffered.length - 1) - currentTime : 0;
    const size = videoWidth > 0 ? `${videoWidth} × ${videoHeight}` : 'sound only';
    const facts = [size, this.#ways[this.#way].name, `${Math.max(0, ahead).toFixed(1)} s buffered`];
    setText(element('player-facts'), facts.filter(Boolean).join(' · '));
  }

  #start() {
    this.#video.play().catch(({ name }) => {
      // Else a stop or a switch came first.
      if (name !== 'NotAllowedError' || this.#video.muted) return;
      this.#video.muted = true;
      this.#start();
    });
  }

  #close() {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#firstByteAtMs = undefined;
    engine?.destroy();
  }

  /** What only this browser makes of the stream can be better another way; a source that fails fails any way. */
  #failed(problem) {
    const next = this.#way + 1;
    if (problem.isOfBrowser && next < this.#ways.length) {
      this.#open(next);
      return;
    }
    this.#close();
    this.#show('failed', problem);
  }

  #show(phase, problem) {
    const name = this.#channel?.name;
    const isConverted = this.#ways[this.#way]?.name === 'converted';
    const covers = {
      idle: ['screen', 'Nothing is playing', 'Press Play on a channel to watch it here.'],
      opening: ['wait', `Opening ${name}`, isConverted ? CONVERTED : FIRST],
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
    setShown(element('retry'), phase === 'failed' && this.#ways.length > 0);
    setText(element('player-title'), phase === 'idle' ? 'Player' : name);
    const sound = `The sound is ${this.#video.muted ? 'off' : 'on'}`;
    setText(element('player-facts'), facts[phase] ?? sound);
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
