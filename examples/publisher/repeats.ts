const WINDOW_MS = 10_000;
const SHOWN = 20;
/** Of so many different lines the repeats are counted at a time; more are as good as no repeats. */
const KNOWN = 1_000;

interface Line {
  readonly since: number;
  count: number;
}

/** Bounds how often one and the same line is logged: a storm of it is told by its number. */
export class Repeats {
  readonly #lines = new Map<string, Line>();

  /**
   * Whether a line is to be shown now, and how often it was not since it last was: more than 0 only for the first of a
   * new stretch of time.
   */
  admit(line: string, now: number): { readonly show: boolean; readonly hidden: number } {
    const before = this.#lines.get(line);
    if (before && now - before.since < WINDOW_MS) {
      before.count += 1;
      return { show: before.count <= SHOWN, hidden: 0 };
    }
    this.#begin(line, now);
    return { show: true, hidden: before ? hiddenOf(before) : 0 };
  }

  /** The lines whose stretch of time is over and that were hidden then; each is told once. */
  over(now: number): { readonly line: string; readonly hidden: number }[] {
    const over = [...this.#lines].filter(([, { since }]) => now - since >= WINDOW_MS);
    for (const [line] of over) this.#lines.delete(line);
    return over.map(([line, seen]) => ({ line, hidden: hiddenOf(seen) })).filter(({ hidden }) => hidden > 0);
  }

  #begin(line: string, now: number): void {
    this.#lines.delete(line);
    this.#lines.set(line, { since: now, count: 1 });
    const [oldest] = this.#lines.keys();
    if (this.#lines.size > KNOWN && oldest !== undefined) this.#lines.delete(oldest);
  }
}

function hiddenOf({ count }: Line): number {
  return Math.max(0, count - SHOWN);
}
