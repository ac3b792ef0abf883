/** As much of a stream as viewers may be apart. */
const KEPT_BYTES = 32 * 2 ** 20;
/** Enough to be found again in one place only: packets with a picture. */
const SAMPLE_BYTES = 188 * 7;
/** So much that is nowhere in the reference is foreign, not late. */
const PATIENCE_BYTES = 8 * 2 ** 20;
/** What a viewer may be behind another and be healthy, in bytes and in seconds of the stream. */
const APART_BYTES = 512 * 2 ** 10;
const APART_SECONDS = 2;
/**
 * Who joins gets what the reference gets at the same time, up to this. Openings may begin with the same bytes, but not one so
 * soon after the other.
 */
const JOIN_MS = 1_000;
/** What was found earlier than that is taken only when nothing later has come for so long: this process may have been slow. */
const LATER_MS = 3_000;
const EARLIEST_MS = 10_000;

/** What one viewer of a channel got: the others are compared with it. */
export class Reference {
  #chunks: { readonly bytes: Buffer; readonly at: number }[] = [];
  /** Offset of the first byte that is kept, and of the next that comes. */
  #start = 0;
  #end = 0;
  readonly #since = performance.now();

  get end(): number {
    return this.#end;
  }

  /** How many bytes another may be behind. */
  get apartBytes(): number {
    const seconds = (performance.now() - this.#since) / 1_000;
    return Math.max(APART_BYTES, (this.#end / Math.max(1, seconds)) * APART_SECONDS);
  }

  add(chunk: Buffer): void {
    this.#chunks.push({ bytes: chunk, at: performance.now() });
    this.#end += chunk.length;
    while (this.#end - this.#start > KEPT_BYTES) this.#start += this.#chunks.shift()?.bytes.length ?? 0;
  }

  /** What there is from an offset on, in one piece; undefined if that is no longer kept. */
  at(offset: number): Buffer | undefined {
    if (offset < this.#start) return undefined;
    let start = this.#start;
    for (const { bytes } of this.#chunks) {
      if (offset < start + bytes.length) return bytes.subarray(offset - start);
      start += bytes.length;
    }
    return Buffer.alloc(0);
  }

  /** Whether something came at an instant or later. */
  hasComeTo(at: number): boolean {
    return (this.#chunks.at(-1)?.at ?? 0) >= at;
  }

  /** Where a sample is, from an offset on. */
  find(sample: Buffer, from: number): number | undefined {
    const kept = Buffer.concat(this.#chunks.map(({ bytes }) => bytes));
    const index = kept.indexOf(sample, Math.max(0, from - this.#start));
    return index === -1 ? undefined : this.#start + index;
  }

  /** Where it is last in what came between two instants. */
  findLast(sample: Buffer, from: number, to: number): number | undefined {
    const first = this.#chunks.findLastIndex(({ at }) => at < from) + 1;
    const wanted = Buffer.concat(this.#chunks.slice(first).flatMap(({ at, bytes }) => (at <= to ? [bytes] : [])));
    const before = this.#chunks.slice(0, first).reduce((sum, { bytes }) => sum + bytes.length, this.#start);
    const index = wanted.lastIndexOf(sample);
    return index === -1 ? undefined : before + index;
  }
}

/** Whether a viewer got the same bytes as the reference, from its join on. */
export class Comparison {
  readonly #reference: Reference;
  #pending: Buffer = Buffer.alloc(0);
  /** The offset in the reference of the next byte; unknown at first and after a difference. */
  #offset: number | undefined;
  /** Where it was when it differed. */
  #lostAt: number | undefined;
  /** When it got its first bytes, and how far the reference was then. */
  #joined: { readonly at: number; readonly end: number } | undefined;
  #sampledAt = -1;
  #isOver = false;
  equalBytes = 0;
  /** Bytes that the reference has and the viewer has not, or the other way round. */
  lostBytes = 0;

  constructor(reference: Reference) {
    this.#reference = reference;
  }

  add(chunk: Buffer): void {
    this.#joined ??= { at: performance.now(), end: this.#reference.end };
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    this.compare();
  }

  /** Goes on as far as both have come. */
  compare(): void {
    while (this.#pending.length > 0) {
      if (this.#offset === undefined && !this.#locate()) return;
      if (!this.#step(this.#offset as number)) return;
    }
  }

  #step(offset: number): boolean {
    const expected = this.#reference.at(offset);
    if (!expected) return this.#lose(offset);
    const length = Math.min(expected.length, this.#pending.length);
    if (length === 0) return false;
    const equal = equalBytes(this.#pending, expected, length);
    this.#offset = offset + equal;
    this.equalBytes += equal;
    this.#pending = this.#pending.subarray(equal);
    return equal === length || this.#lose(offset + equal);
  }

  /** The viewer leaves: what it should have had by now, and what nobody else has had, is lost. */
  finish(): void {
    this.#isOver = true;
    this.#sampledAt = -1;
    this.compare();
    const { end, apartBytes } = this.#reference;
    const at = this.#offset ?? this.#lostAt ?? this.#joined?.end ?? end;
    const lackingBytes = end - at - apartBytes;
    if (lackingBytes > 0) this.lostBytes += lackingBytes;
    const isForeign = this.#lostAt !== undefined || (this.#offset === undefined && this.#pending.length > apartBytes);
    if (isForeign) this.lostBytes += this.#pending.length;
  }

  #lose(offset: number): true {
    this.#lostAt = offset;
    this.#offset = undefined;
    this.#sampledAt = -1;
    return true;
  }

  #locate(): boolean {
    const { end } = this.#reference;
    if (this.#pending.length < SAMPLE_BYTES || end === this.#sampledAt) return false;
    this.#sampledAt = end;
    const sample = this.#pending.subarray(0, SAMPLE_BYTES);
    const found = this.#lostAt === undefined ? this.#findJoin(sample) : this.#reference.find(sample, this.#lostAt);
    if (found !== undefined) {
      this.lostBytes += this.#lostAt === undefined ? 0 : Math.max(1, found - this.#lostAt);
      this.#offset = found;
      this.#lostAt = undefined;
      return true;
    }
    if (this.#pending.length > PATIENCE_BYTES) {
      this.lostBytes += this.#pending.length;
      this.#pending = Buffer.alloc(0);
    }
    return false;
  }

  #findJoin(sample: Buffer): number | undefined {
    const { at: joinedAt } = this.#joined as { readonly at: number };
    const found = this.#reference.findLast(sample, joinedAt - JOIN_MS, joinedAt + LATER_MS);
    if (found !== undefined || !(this.#isOver || this.#reference.hasComeTo(joinedAt + LATER_MS))) return found;
    return this.#reference.findLast(sample, joinedAt - EARLIEST_MS, joinedAt + LATER_MS);
  }
}

/** How many bytes at the begin of both are the same, up to `length`. */
function equalBytes(a: Buffer, b: Buffer, length: number): number {
  if (a.compare(b, 0, length, 0, length) === 0) return length;
  let equal = 0;
  while (a[equal] === b[equal]) equal++;
  return equal;
}
