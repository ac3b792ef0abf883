import { noteOf, stateOf, stateText } from './channel-words.js';
import { bitrateOf, plural } from './format.js';
import { isActive } from './model.js';
import { fromTemplate, setAttribute, setShown, setText } from './page.js';

/** A channel at a glance. Its size never changes, whatever it has to say. */
export class ChannelCard {
  #parts = fromTemplate('card-template');
  #isPlaying = false;
  model;

  constructor(model, { play, details, star }) {
    this.model = model;
    this.#parts.play.addEventListener('click', () => play(this.model.view));
    this.#parts.more.addEventListener('click', () => details(this.model.view.id));
    this.#parts.star.addEventListener('click', () => star(this.model.view.id));
  }

  get root() {
    return this.#parts.root;
  }

  get id() {
    return this.model.view.id;
  }

  focus() {
    this.#parts.play.focus({ preventScroll: true });
  }

  update(nowMs) {
    const parts = this.#parts;
    const { view, rates } = this.model;
    const state = stateOf(view);
    const errors = view.continuityErrors ?? 0;
    setAttribute(parts.root, 'data-state', state);
    setAttribute(parts.root, 'data-id', view.id);
    setText(parts.number, view.number ?? '');
    setAttribute(parts['thumb-number'], 'data-text', view.number ?? [...view.name].slice(0, 2).join('').toUpperCase());
    setText(parts.name, view.name);
    setAttribute(parts['state-icon'], 'href', `#state-${state}`);
    setText(parts.viewers, plural(view.viewers, 'viewer'));
    setText(parts.in, isActive(view) ? bitrateOf(rates.in) : '');
    setText(parts.errors, errors > 0 ? plural(errors, 'continuity error') : '');
    setAttribute(parts.more, 'aria-label', `Details of ${view.name}`);
    setAttribute(parts.more, 'title', 'Details');
    this.#showPlay();
    this.tick(nowMs);
  }

  /** What changes by the mere passing of time. */
  tick(nowMs) {
    const { view } = this.model;
    const { text, kind } = noteOf(view, nowMs);
    setText(this.#parts['state-text'], stateText(view, nowMs));
    setText(this.#parts.note, text);
    setAttribute(this.#parts.note, 'data-kind', kind);
  }

  showPlaying(playing) {
    this.#isPlaying = playing;
    this.#showPlay();
  }

  showStar(starred) {
    setAttribute(this.#parts.star, 'aria-pressed', String(starred));
    setAttribute(this.#parts.star, 'aria-label', `Favourite: ${this.model.view.name}`);
    setAttribute(this.#parts.star, 'title', 'Favourite');
  }

  /** @param blob a picture that has come whole, so that nothing flickers */
  async showPicture(blob) {
    const { picture } = this.#parts;
    const former = picture.src;
    picture.src = URL.createObjectURL(blob);
    await picture.decode().catch(() => {});
    setShown(picture, picture.naturalWidth > 0);
    if (former) URL.revokeObjectURL(former);
  }

  #showPlay() {
    this.#parts.root.classList.toggle('playing', this.#isPlaying);
    setAttribute(this.#parts.play, 'aria-label', `${this.#isPlaying ? 'Stop' : 'Play'} ${this.model.view.name}`);
    setAttribute(this.#parts['play-icon'], 'href', this.#isPlaying ? '#icon-stop' : '#icon-play');
  }
}
