const REFRESH_MS = 2_000;

/**
 * Pictures of channels: read for cards that are in sight, while the tab is, and only where the publisher says that it has
 * one. The last one stays.
 */
export class Previews {
  #list;
  #inSight = new Set();
  #busy = new Set();
  #readAt = new Map();
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
    const isFresh = performance.now() - (this.#readAt.get(id) ?? Number.NEGATIVE_INFINITY) < REFRESH_MS;
    if (!preview || isFresh || this.#busy.has(id)) return;
    this.#busy.add(id);
    this.#readAt.set(id, performance.now());
    try {
      const response = await fetch(preview, { cache: 'no-cache' });
      const etag = response.headers.get('ETag');
      // The first is being made: it is asked for again at the next tick.
      if (response.status === 204) this.#readAt.delete(id);
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
