/** Why a channel left a source for another. */
export type SwitchReason =
  | 'silent' // nothing came any more
  | 'ended' // the connection was cut, or the stream ended
  | 'refused' // it could not be opened
  | 'busy' // others have its tuners
  | 'garbage' // no MPEG-TS came
  | 'discontinuous' // too many packets were missing
  | 'scrambled'
  | 'no-video'
  | 'no-clock'
  | 'preferred' // a better one is well again
  | 'removed'; // it is no longer listed

export interface Switch {
  readonly at: Date;
  /** Addresses without credentials. */
  readonly from: string;
  readonly to: string;
  readonly why: SwitchReason;
}

/** So many are remembered. */
const REMEMBERED = 20;

/** The changes of a channel from one source to another: a source that is opened again is none. */
export class Switches {
  readonly #history: Switch[] = [];
  readonly #counts = new Map<SwitchReason, number>();
  #left: { readonly key: string; readonly from: string; readonly why: SwitchReason } | undefined;

  get history(): readonly Switch[] {
    return this.#history;
  }

  /** Since the channel was made. */
  get counts(): ReadonlyMap<SwitchReason, number> {
    return this.#counts;
  }

  /** The first cause counts: what else could not be read until another one is live is part of this switch. */
  leave(left: { readonly key: string; readonly from: string; readonly why: SwitchReason }): void {
    this.#left ??= left;
  }

  /** Nobody watches any more. */
  forget(): void {
    this.#left = undefined;
  }

  /** A source is live; returns the switch, if it is one. */
  arrive({ key, to }: { readonly key: string; readonly to: string }): Switch | undefined {
    const left = this.#left;
    this.#left = undefined;
    if (!left || left.key === key) return undefined;
    const made = { at: new Date(), from: left.from, to, why: left.why };
    this.#history.push(made);
    if (this.#history.length > REMEMBERED) this.#history.shift();
    this.#counts.set(left.why, (this.#counts.get(left.why) ?? 0) + 1);
    return made;
  }
}
