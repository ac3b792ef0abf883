/** Who uses a tuner. */
export interface TunerHolder {
  readonly address: string;
  readonly since: Date;
  /** The channel that is streamed; absent when the tuner is locked over the control port or from outside. */
  readonly channel?: string | undefined;
  /** The lock key of a holder that came over the control port. */
  readonly lockKey?: number | undefined;
}

/** A tuner of the simulator, as its tests and the demo see it. */
export interface TunerState {
  readonly resource: string;
  readonly holder?: TunerHolder;
}

/** One use of a tuner. Releasing twice, or after someone else has it, changes nothing. */
export interface TunerUse extends Disposable {
  readonly resource: string;
  readonly holder: TunerHolder;
}

/** The scarce thing: a fixed number of tuners, each used by one holder at most. */
export class TunerBank {
  readonly #holders: (TunerHolder | undefined)[];
  readonly #opens = new Map<string, number>();
  readonly #maxStreamsOf = new Map<string, number>();
  #maxStreams = 0;

  constructor(count: number) {
    this.#holders = Array.from({ length: count }, () => undefined);
  }

  get count(): number {
    return this.#holders.length;
  }

  states(): TunerState[] {
    return this.#holders.map((holder, index) => ({ resource: `tuner${index}`, ...(holder && { holder }) }));
  }

  holderOf(index: number): TunerHolder | undefined {
    return this.#holders[index];
  }

  /** Takes the first free tuner, or the one named by its number; `undefined` if there is none. */
  take(holder: TunerHolder, tuner?: number): TunerUse | undefined {
    const index = tuner ?? this.#holders.indexOf(undefined);
    if (!(index in this.#holders) || this.#holders[index]) return undefined;
    this.#holders[index] = holder;
    this.#count(holder);
    return { resource: `tuner${index}`, holder, [Symbol.dispose]: () => this.release(index, holder) };
  }

  release(index: number, holder: TunerHolder): void {
    if (this.#holders[index] === holder) this.#holders[index] = undefined;
  }

  #count({ channel }: TunerHolder): void {
    if (channel === undefined) return;
    this.#opens.set(channel, this.opens(channel) + 1);
    this.#maxStreams = Math.max(this.#maxStreams, this.streams());
    this.#maxStreamsOf.set(channel, Math.max(this.maxStreamsOf(channel), this.streams(channel)));
  }

  /** How often a tuner was taken for this channel, or for any, since the start. */
  opens(channel?: string): number {
    if (channel !== undefined) return this.#opens.get(channel) ?? 0;
    return [...this.#opens.values()].reduce((sum, opens) => sum + opens, 0);
  }

  /** How many tuners stream this channel, or any, now. */
  streams(channel?: string): number {
    const streaming = this.#holders.filter((holder) => holder?.channel !== undefined);
    return streaming.filter((holder) => channel === undefined || holder?.channel === channel).length;
  }

  get maxStreams(): number {
    return this.#maxStreams;
  }

  maxStreamsOf(channel: string): number {
    return this.#maxStreamsOf.get(channel) ?? 0;
  }
}
