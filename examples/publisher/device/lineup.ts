import { join } from 'node:path';
import { z } from 'zod';
import type { Channel } from '../channel/channel.ts';
import type { Logger } from '../log.ts';
import { JsonFile } from '../state/json-file.ts';

/** A channel, as players know it. */
export interface LineupEntry {
  readonly channel: Channel;
  /** No other channel has it. */
  readonly number: string;
  readonly favorite: boolean;
  /** False: players that ask for all channels see it, others don't. */
  readonly enabled: boolean;
}

/** `+` a favourite, `-` none, `x` not shown: what players say of a channel. */
export const MARKS = ['+', '-', 'x'] as const;
export type Mark = (typeof MARKS)[number];

const schema = z.object({
  /** By the channel's id. */
  numbers: z.record(z.string(), z.string()),
  marks: z.record(z.string(), z.enum(MARKS)),
});
type Memory = z.infer<typeof schema>;

/** Above those of broadcasters. */
const FIRST_MADE_NUMBER = 9_001;
/** As many digits as players let people type. */
const LAST_MADE_NUMBER = 99_999;
/** More numbers than any house has channels; of channels that are gone, the oldest are forgotten first. */
const MAX_NUMBERS = 10_000;
const WATCHABLE_NUMBER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;

/**
 * The channels by number. One that has no number, or whose number another has, is given one that it keeps: players
 * remember channels by it.
 */
export class Lineup {
  readonly #channels: Iterable<Channel>;
  readonly #file: JsonFile<Memory>;
  readonly #memory: Memory;

  constructor(channels: Iterable<Channel>, stateDirectory: string, log: Logger) {
    this.#channels = channels;
    this.#file = new JsonFile(join(stateDirectory, 'lineup.json'), schema, log);
    this.#memory = this.#file.read() ?? { numbers: {}, marks: {} };
  }

  /** Ordered as people count. */
  get entries(): readonly LineupEntry[] {
    const numbers = this.#numbers();
    return [...numbers].map(([number, channel]) => this.#entryOf(number, channel)).sort(byNumber);
  }

  find(number: string): LineupEntry | undefined {
    const channel = this.#numbers().get(number);
    return channel && this.#entryOf(number, channel);
  }

  /** The number that players know a channel by. */
  numberOf(channel: Channel): string | undefined {
    for (const [number, each] of this.#numbers()) if (each === channel) return number;
    return undefined;
  }

  /** Resolves when it is kept. */
  async mark({ channel }: LineupEntry, mark: Mark): Promise<void> {
    this.#memory.marks[channel.entry.id] = mark;
    await this.#file.write(this.#memory);
  }

  /** Resolves when all that is to be kept is. */
  settled(): Promise<void> {
    return this.#file.settled();
  }

  #entryOf(number: string, channel: Channel): LineupEntry {
    const mark = Object.hasOwn(this.#memory.marks, channel.entry.id) ? this.#memory.marks[channel.entry.id] : undefined;
    const { favorite: given, settled } = channel.entry;
    const favorite = settled?.favorite ?? (mark === undefined ? given === true : mark === '+');
    return { channel, number, favorite, enabled: settled?.enabled ?? mark !== 'x' };
  }

  #numbers(): ReadonlyMap<string, Channel> {
    const numbers = new Map<string, Channel>();
    const without = [...this.#channels].filter((channel) => {
      const number = numberIn(channel);
      if (number === undefined || numbers.has(number)) return true;
      numbers.set(number, channel);
      return false;
    });
    for (const channel of without) numbers.set(this.#madeNumber(channel, numbers), channel);
    return numbers;
  }

  #madeNumber({ entry: { id } }: Channel, taken: ReadonlyMap<string, Channel>): string {
    const { numbers } = this.#memory;
    const kept = Object.hasOwn(numbers, id) ? numbers[id] : undefined;
    if (kept !== undefined && !taken.has(kept)) return kept;
    const used = new Set(Object.values(numbers));
    let number = firstToTry(used);
    while (used.has(String(number)) || taken.has(String(number))) number += 1;
    this.#forgetOldest();
    numbers[id] = String(number);
    void this.#file.write(this.#memory);
    return numbers[id];
  }

  /** Others may announce channels under new ids for ever. */
  #forgetOldest(): void {
    const ids = Object.keys(this.#memory.numbers);
    if (ids.length < MAX_NUMBERS) return;
    const here = new Set([...this.#channels].map(({ entry }) => entry.id));
    const oldest = ids.find((id) => !here.has(id));
    if (oldest !== undefined) delete this.#memory.numbers[oldest];
  }
}

/** Above all others: whoever remembers a number that was forgotten here would find another channel under it. */
function firstToTry(used: ReadonlySet<string>): number {
  const made = [...used].map(Number).filter((number) => Number.isInteger(number) && number <= LAST_MADE_NUMBER);
  const next = Math.max(FIRST_MADE_NUMBER - 1, ...made) + 1;
  return next > LAST_MADE_NUMBER ? FIRST_MADE_NUMBER : next;
}

/** What it is called upstream; of one that was only given an id, that, if it is a number. */
function numberIn({ entry: { number, id } }: Channel): string | undefined {
  const wanted = number ?? (/^\d{1,5}([.-]\d{1,5})?$/.test(id) ? id : undefined);
  return wanted !== undefined && WATCHABLE_NUMBER.test(wanted) ? wanted : undefined;
}

const inOrder = new Intl.Collator('en', { numeric: true });

function byNumber(a: LineupEntry, b: LineupEntry): number {
  return inOrder.compare(a.number, b.number);
}
