const KEY = 'holdfast-favourites';

/** What this browser's owner likes; without a choice of theirs, what the lineup says. */
export class Favourites {
  #chosen = read();

  has(id, byLineup) {
    return this.#chosen[id] ?? Boolean(byLineup);
  }

  set(id, liked) {
    this.#chosen[id] = liked;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#chosen));
    } catch {
      // Kept for as long as the page is open: a browser may forbid more.
    }
  }
}

function read() {
  try {
    return Object.assign(Object.create(null), JSON.parse(localStorage.getItem(KEY) ?? '{}'));
  } catch {
    return Object.create(null);
  }
}
