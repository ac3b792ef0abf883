const REFRESH_MS = 2_000;
/** The first is made when it is asked for, so it is asked for at every tick; what has none by then, such as radio, seldom. */
const QUICK_TRIES = 10;
const NONE_MS = 10_000;

/**
 * Pictures of channels: read for cards that are in sight, while the tab is, and only where the publisher says that it has
 * one. The last one stays.
 */
export class Previews {
  #list;
  #inSight = new Set();
  #busy = new Set();
  /** Of each: when it may be asked for again, and how often in a row there was none. */
  #asked = new Map();
  /** Of what each card shows: the same picture is not decoded again and again. */
  #shown = new WeakMap();
  #observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: '100px' });
  #observed = new WeakSet();

  constructor(list) {
    this.#list = list;
  }

  /** Once a second. */
  tick() {
    for (const { root } of this.#list.cards.values()) {
      if (this.#observed.has(root)) continue;
      this.#observed.add(root);
      this.#observer.observe(root);
    }
    if (document.hidden) return;
    for (const id of this.#inSight) this.#refresh(id);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const { id } = target.dataset;
      if (isIntersecting) this.#inSight.add(id);
      else this.#inSight.delete(id);
    }
  }

  async #refresh(id) {
    const card = this.#list.cards.get(id);
    const preview = card?.model.view.preview;
    if (!preview) this.#asked.delete(id);
    const { nextAt = 0, none = 0 } = this.#asked.get(id) ?? {};
    if (!preview || performance.now() < nextAt || this.#busy.has(id)) return;
    this.#busy.add(id);
    this.#asked.set(id, { nextAt: performance.now() + REFRESH_MS });
    try {
      const response = await fetch(preview, { cache: 'no-cache' });
      const etag = response.headers.get('ETag');
      if (response.status === 204) this.#asked.set(id, afterNone(none + 1));
      // What is shown stays while there is none, or no other.
      if (response.status !== 200 || this.#shown.get(card) === etag) return;
      await card.showPicture(await response.blob());
      this.#shown.set(card, etag);
    } catch {
      // The next may come.
    } finally {
      this.#busy.delete(id);
    }
  }
}

const afterNone = (none) => ({ none, nextAt: none < QUICK_TRIES ? 0 : performance.now() + NONE_MS });
