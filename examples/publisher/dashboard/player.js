import { announce, element, setAttribute, setShown, setText } from './page.js';
import { openWay, waysTo } from './player-ways.js';

/** Bytes have come for this long and still no picture: the browser knows none of the stream's codecs. */
const DECODE_TIMEOUT_MS = 10_000;

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
    element('retry').addEventListener('click', () => this.#again(this.#way));
    element('other-way').addEventListener('click', () => this.#again(this.#way + 1));
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
    this.#channel = channel;
    this.#ways = waysTo(channel);
    this.#open(0);
  }

  #again(way) {
    this.#open(way % this.#ways.length);
    element('stop').focus();
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
      failed: (problem) => engine === this.#engine && this.#giveUp(problem),
    });
    this.#engine = engine;
    this.#video.muted = true;
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
      const detail = 'Its video or audio may be MPEG-2, HEVC or AC-3. VLC and ffplay play them.';
      this.#giveUp({ title: 'The stream arrives, but this browser shows no picture', detail, isOfMedia: true });
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
    setShown(element('retry'), phase === 'failed' && this.#ways.length > 0);
    this.#offerOtherWay(phase === 'failed' && problem.isOfMedia);
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

  /** Only what this browser makes of the stream can be better another way; a source that fails fails any way. */
  #offerOtherWay(offered) {
    const other = this.#ways[(this.#way + 1) % this.#ways.length];
    setShown(element('other-way'), Boolean(offered) && this.#ways.length > 1);
    if (other) setText(element('other-way'), `Play ${other.name}`);
  }

  #showSound() {
    const on = !this.#video.muted;
    setAttribute(element('sound'), 'aria-pressed', String(on));
    setAttribute(element('sound-icon'), 'href', on ? '#icon-sound' : '#icon-muted');
  }
}
