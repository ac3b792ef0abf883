import { setImmediate as othersTurn } from 'node:timers/promises';

/** A channel of ours, as far as a guide can know it. */
export interface GuideTarget {
  readonly id: string;
  readonly name: string;
  readonly number: string | null;
  /** The id in the guide, as the operator wrote it: then nothing else counts. */
  readonly guideId?: string | undefined;
}

/** A channel of a guide. */
export interface GuideChannel {
  readonly id: string;
  /** Its display names, which may be numbers and callsigns too. */
  readonly names: readonly string[];
}

/**
 * Which channel of a guide each of ours is, by the surest of these that any has, the first if several do:
 *
 * 1. the id in the guide that the operator wrote; then nothing else is tried
 * 2. its id in the guide is our id
 * 3. a display name is our number and our name, as `5.1 Harbour News`
 * 4. a display name is our name, or its id in the guide is; capitals, accents, blanks and signs do not count
 * 5. the same without what only says how it is sent: `HD`, `UHD`, `DT`, `TV`, at the end
 * 6. its id in the guide, or a display name, is our number, as `5.1`, `5-1`, or `5.1` before another name
 *
 * Others get a turn every few milliseconds: some guides have ten thousand channels.
 *
 * @returns for each of ours that was found: our id, and the id in the guide.
 */
export async function matchChannels(
  ours: readonly GuideTarget[],
  theirs: readonly GuideChannel[],
  signal?: AbortSignal,
): Promise<Map<string, string>> {
  const names = new GuideNames();
  for await (const channel of inTurns(theirs, signal)) names.add(channel);
  const found = new Map<string, string>();
  for await (const target of inTurns(ours, signal)) {
    const match = names.find(target);
    if (match !== undefined) found.set(target.id, match);
  }
  return found;
}

/** As everywhere here, capitals, accents, blanks and signs do not count. */
export function isCalled({ names }: GuideChannel, name: string): boolean {
  return names.some((each) => plain(each) === plain(name));
}

/** So many channels are looked at before others have a turn. */
const CHANNELS_PER_TURN = 200;

async function* inTurns<T>(channels: readonly T[], signal: AbortSignal | undefined): AsyncGenerator<T> {
  for (const [index, channel] of channels.entries()) {
    if (index % CHANNELS_PER_TURN === CHANNELS_PER_TURN - 1) await othersTurn();
    signal?.throwIfAborted();
    yield channel;
  }
}

/** Of one channel. Real ones have a handful. */
const MAX_NAMES = 32;
/** What is longer is no name; it would cost time only. */
const MAX_NAME = 200;

/** What a channel may be called, and the channel of the guide that is called so first. */
class GuideNames {
  readonly #ids = new Map<string, string>();
  readonly #full = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #bare = new Map<string, string>();
  readonly #numbers = new Map<string, string>();

  add({ id, names }: GuideChannel): void {
    put(this.#ids, id.toLowerCase(), id);
    for (const name of names.slice(0, MAX_NAMES)) this.#putName(name, id);
    this.#putName(id, id);
  }

  find({ id, name, number, guideId }: GuideTarget): string | undefined {
    if (guideId !== undefined) return this.#ids.get(guideId.toLowerCase());
    return (
      this.#ids.get(id.toLowerCase()) ??
      (number === null ? undefined : this.#full.get(`${plainNumber(number)} ${plain(name)}`)) ??
      this.#names.get(plain(name)) ??
      this.#bare.get(bare(name)) ??
      (number === null ? undefined : this.#numbers.get(plainNumber(number)))
    );
  }

  #putName(name: string, id: string): void {
    if (name.length > MAX_NAME) return;
    put(this.#names, plain(name), id);
    put(this.#bare, bare(name), id);
    const [, number, rest = ''] = /^(\d+(?:[.-]\d+)?)(?:\s+(.*))?$/.exec(name.trim()) ?? [];
    if (number === undefined) return;
    put(this.#numbers, plainNumber(number), id);
    if (rest !== '') put(this.#full, `${plainNumber(number)} ${plain(rest)}`, id);
  }
}

function put(map: Map<string, string>, key: string, id: string): void {
  if (key !== '' && !map.has(key)) map.set(key, id);
}

function plain(name: string): string {
  const decomposed = name.normalize('NFKD').toLowerCase();
  return decomposed.replace(/\+/g, 'plus').replace(/[^\p{Letter}\p{Number}]/gu, '');
}

function bare(name: string): string {
  const words = name.split(/[^\p{Letter}\p{Mark}\p{Number}+]+/u).filter((word) => word !== '');
  while (/^(?:uhd|fhd|hd|sd|dt\d?|tv)$/i.test(words.at(-1) ?? '')) words.pop();
  return plain(words.join(' '));
}

/** `5-1` is `5.1`. */
function plainNumber(number: string): string {
  return number.trim().replace('-', '.');
}
