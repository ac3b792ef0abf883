import fc from 'fast-check';
import { AcquireTimeoutError, ClosedError, type Reservation, TokenBucket } from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

interface ModelClaim {
  readonly name: string;
  readonly micros: number;
  state: 'waiting' | 'granted' | 'gone';
}

/** Whole millionths of a token and a list, looked at each millisecond. */
class PlainBucket {
  readonly claims: ModelClaim[] = [];
  /** Names of the takes, in the order in which they got their tokens. */
  readonly granted: string[] = [];
  #micros: number;
  readonly #capacity: number;
  readonly #perMs: number;

  constructor({ capacity, refillPerSecond, initial }: { capacity: number; refillPerSecond: number; initial: number }) {
    this.#micros = initial * 1e6;
    this.#capacity = capacity * 1e6;
    this.#perMs = refillPerSecond * 1e3;
  }

  pass(ms: number): void {
    for (; ms > 0; ms--) {
      this.#micros += this.#perMs;
      this.settle();
    }
  }

  settle(): void {
    for (const claim of this.#waiting()) {
      if (claim.micros > this.#micros) return;
      claim.state = 'granted';
      this.#micros -= claim.micros;
      this.granted.push(claim.name);
    }
    this.#micros = Math.min(this.#micros, this.#capacity);
  }

  get available(): number {
    return this.#waiting().length > 0 ? 0 : this.#micros / 1e6;
  }

  delayOf(count: number): number {
    const claimed = this.#waiting().reduce((sum, { micros }) => sum + micros, 0);
    return Math.max(0, (claimed + count * 1e6 - this.#micros) / this.#perMs);
  }

  claim(name: string, count: number): ModelClaim {
    const claim: ModelClaim = { name, micros: count * 1e6, state: 'waiting' };
    this.claims.push(claim);
    this.settle();
    return claim;
  }

  cancel(claim: ModelClaim): void {
    if (claim.state === 'granted') this.#micros = Math.min(this.#capacity, this.#micros + claim.micros);
    claim.state = 'gone';
    this.settle();
  }

  #waiting(): ModelClaim[] {
    return this.claims.filter(({ state }) => state === 'waiting');
  }
}

/** A bucket and its model, on which the same is done. */
class Pair {
  readonly bucket: TokenBucket;
  readonly model: PlainBucket;
  readonly got: string[] = [];
  readonly #takes: { claim: ModelClaim; controller: AbortController }[] = [];
  readonly #reservations: { claim: ModelClaim; reservation: Reservation }[] = [];
  #names = 0;

  constructor(limits: { capacity: number; refillPerSecond: number; initial: number }) {
    this.bucket = new TokenBucket(limits);
    this.model = new PlainBucket(limits);
  }

  /** @param patienceMs by how much it may wait longer than it has to */
  async take(count: number, patienceMs: number): Promise<void> {
    const name = `take ${this.#names++}`;
    const controller = new AbortController();
    const delayMs = this.model.delayOf(count);
    const timeoutMs = Math.max(0, delayMs + patienceMs);
    const begin = performance.now();
    const take = this.bucket.take(count, { timeoutMs, signal: controller.signal });
    if (delayMs > timeoutMs) {
      let error: unknown;
      take.catch((thrown: unknown) => (error = thrown));
      await vi.advanceTimersByTimeAsync(0);
      expect(error).toBeInstanceOf(AcquireTimeoutError);
      return;
    }
    const claim = this.model.claim(name, count);
    this.#takes.push({ claim, controller });
    take.then(
      (waitedMs) => {
        this.got.push(name);
        expect(waitedMs).toBe(performance.now() - begin);
        expect(waitedMs).toBeLessThanOrEqual(Math.ceil(delayMs));
      },
      (error: unknown) => expect([error, claim.state]).toEqual([name, 'gone']),
    );
  }

  tryTake(count: number): void {
    const isThere = this.model.delayOf(count) === 0;
    if (isThere) this.model.claim('', count);
    expect(this.bucket.tryTake(count)).toBe(isThere);
  }

  reserve(count: number): void {
    const delayMs = this.model.delayOf(count);
    const reservation = this.bucket.reserve(count);
    expect(reservation.delayMs).toBeCloseTo(delayMs, 6);
    this.#reservations.push({ claim: this.model.claim('', count), reservation });
  }

  /** Aborts a take. One that is over does not mind. */
  abort(which: number): void {
    const take = this.#takes[which % Math.max(1, this.#takes.length)];
    if (take?.claim.state === 'waiting') this.model.cancel(take.claim);
    take?.controller.abort(take.claim.name);
  }

  cancel(which: number): void {
    const [each] = this.#reservations.splice(which % Math.max(1, this.#reservations.length), 1);
    if (!each) return;
    this.model.cancel(each.claim);
    each.reservation.cancel();
    each.reservation.cancel();
  }

  compare(): void {
    const takes = this.model.granted.filter((name) => name !== '');
    expect(this.got).toEqual(takes);
    expect(this.bucket.available).toBeCloseTo(this.model.available, 6);
    const { length } = this.#takes.filter(({ claim }) => claim.state === 'waiting');
    expect(this.bucket.waiting).toBe(length);
    expect(vi.getTimerCount()).toBe(Math.min(1, length));
  }
}

test('takes, reservations, aborts and time-outs in any order go as in a plain list', async () => {
  const count = fc.integer({ min: 1, max: 16 }).map((sixteenths) => sixteenths / 16);
  const which = fc.nat(20);
  const action = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.oneof(fc.nat(40), fc.nat(3_000)) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('take' as const),
        count,
        patienceMs: fc.constantFrom(-1_000, -0.01, 0.01, 1_000, 1e9),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('tryTake' as const, 'reserve' as const), count }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('abort' as const, 'cancel' as const), which }) },
  );
  const limits = fc
    .record({
      capacity: fc.constantFrom(0.5, 8, 80),
      refillPerSecond: fc.constantFrom(0.5, 1, 3, 7, 40),
      level: fc.constantFrom(0, 0.25, 1),
    })
    .map(({ level, ...rest }) => ({ ...rest, initial: rest.capacity * level }));
  await fc.assert(
    fc.asyncProperty(
      limits,
      fc.array(action, { minLength: 15, maxLength: 60, size: 'max' }),
      async (limits, actions) => {
        vi.clearAllTimers();
        const pair = new Pair(limits);
        for (const action of actions) {
          if (action.do === 'pass') {
            pair.model.pass(action.ms);
            await vi.advanceTimersByTimeAsync(action.ms);
          } else if (action.do === 'take') await pair.take(action.count * limits.capacity, action.patienceMs);
          else if ('count' in action) pair[action.do](action.count * limits.capacity);
          else pair[action.do](action.which);
          await vi.advanceTimersByTimeAsync(0);
          pair.compare();
        }
      },
    ),
    { numRuns: 300 },
  );
}, 60_000);

test('reservations that are cancelled, in whatever order, leave all as it was', () => {
  const counts = fc.array(
    fc.integer({ min: 1, max: 64 }).map((n) => n / 8),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(counts, fc.integer(), (counts, seed) => {
      const bucket = new TokenBucket({ capacity: 8, refillPerSecond: 4, initial: 3 });
      const reservations = counts.map((count) => ({
        reservation: bucket.reserve(count),
        rank: (seed * count * 31) % 17,
      }));
      for (const { reservation } of reservations.toSorted((a, b) => a.rank - b.rank)) reservation.cancel();
      expect([bucket.available, bucket.reserve(8).delayMs]).toEqual([3, 1_250]);
    }),
  );
});

test('a clock that jumps back and forth grants no more than came in the time that it ever showed', () => {
  const step = fc.record({ ms: fc.integer({ min: -5_000, max: 5_000 }), count: fc.integer({ min: 1, max: 8 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      let at = 1_000_000;
      const clock = vi.spyOn(performance, 'now').mockImplementation(() => at);
      try {
        const bucket = new TokenBucket({ capacity: 8, refillPerSecond: 4, initial: 0 });
        let latest = at;
        let granted = 0;
        for (const { ms, count } of steps) {
          const before = bucket.available;
          at += ms;
          if (ms <= 0) expect(bucket.available).toBe(before);
          latest = Math.max(latest, at);
          if (bucket.tryTake(count)) granted += count;
          expect(granted).toBeLessThanOrEqual(((latest - 1_000_000) * 4) / 1_000);
          expect(bucket.available).toBeLessThanOrEqual(8);
        }
      } finally {
        clock.mockRestore();
      }
    }),
  );
});

describe('whoever is granted', () => {
  test('may take again at once, and is then behind those who waited', async () => {
    const bucket = new TokenBucket({ capacity: 1, refillPerSecond: 1, initial: 0 });
    const got: string[] = [];
    const again = (name: string, left: number): Promise<void> | undefined =>
      left === 0
        ? undefined
        : bucket.take().then(() => {
            got.push(name);
            return again(name, left - 1);
          });
    const all = [again('a', 3), again('b', 3), again('c', 3)];
    await vi.advanceTimersByTimeAsync(9_000);
    await Promise.all(all);
    expect(got.join('')).toBe('abcabcabc');
  });

  test('may close the bucket, and nobody behind gets anything', async () => {
    const bucket = new TokenBucket({ capacity: 2, refillPerSecond: 1, initial: 0 });
    const first = bucket.take().then(() => bucket.close());
    const second = expect(bucket.take()).rejects.toThrow(ClosedError);
    await vi.advanceTimersByTimeAsync(1_000);
    await Promise.all([first, second]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('has the tokens even if its signal aborts before it is told, and nobody else gets them too', async () => {
    const bucket = new TokenBucket({ capacity: 2, refillPerSecond: 1, initial: 0 });
    const controller = new AbortController();
    const take = bucket.take(1, controller);
    const late = performance.now() + 1_000;
    const clock = vi.spyOn(performance, 'now').mockReturnValue(late);
    try {
      expect([bucket.available, bucket.waiting]).toEqual([0, 0]); // who looks grants
      controller.abort();
      expect(await take).toBe(1_000);
      expect(bucket.available).toBe(0);
    } finally {
      clock.mockRestore();
    }
  });
});

test('a timer that is early or late grants nothing too early and loses nothing', async () => {
  const bucket = new TokenBucket({ capacity: 10, refillPerSecond: 7, initial: 0 });
  let granted = 0;
  const begin = performance.now();
  for (let n = 0; n < 30; n++) {
    bucket.take().then(() => {
      granted++;
      expect(granted).toBeLessThanOrEqual(((performance.now() - begin) * 7) / 1_000 + 1e-9);
    });
  }
  const real = performance.now.bind(performance);
  // As libuv does, whose clock has whole milliseconds: the timer is over before `now` says so.
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => real() - 0.7);
  await vi.advanceTimersByTimeAsync(2_000);
  clock.mockRestore();
  expect(granted).toBe(13);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(granted).toBe(30);
});
