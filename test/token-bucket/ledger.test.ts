import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Claim, Ledger } from '../../src/token-bucket/ledger.ts';

type Step =
  | { at: number; take: number; ok: boolean }
  | { at: number; available: number }
  | { at: number; delayOf: number; ms: number }
  | { at: number; claim: number; as: string }
  | { at: number; cancel: string }
  | { at: number; granted: string };

const tables: Record<string, { capacity: number; refillPerSecond: number; initial?: number; steps: Step[] }> = {
  'a burst of the capacity, then one after the other': {
    capacity: 3,
    refillPerSecond: 2,
    steps: [
      { at: 0, take: 3, ok: true },
      { at: 0, take: 1, ok: false },
      { at: 499, take: 1, ok: false },
      { at: 500, take: 1, ok: true },
      { at: 500, take: 1, ok: false },
      { at: 1_500, take: 2, ok: true },
    ],
  },
  'what is more than the capacity runs over': {
    capacity: 3,
    refillPerSecond: 1,
    initial: 0,
    steps: [
      { at: 0, available: 0 },
      { at: 1_500, available: 1.5 },
      { at: 1_000_000, available: 3 },
      { at: 1_000_000, take: 3, ok: true },
      { at: 1_000_500, available: 0.5 },
    ],
  },
  'a rate of less than one a second': {
    capacity: 1,
    refillPerSecond: 0.1,
    steps: [
      { at: 0, take: 1, ok: true },
      { at: 9_999, take: 1, ok: false },
      { at: 10_000, take: 1, ok: true },
    ],
  },
  'fractions add up without a rounding error': {
    capacity: 10,
    refillPerSecond: 7,
    initial: 0,
    steps: [
      ...[1, 2, 3, 4, 5, 6].map((n) => ({ at: (n * 1_000) / 7, available: n })),
      { at: 1_000, take: 7, ok: true },
    ],
  },
  'a large claim is not overtaken by small ones': {
    capacity: 10,
    refillPerSecond: 1,
    steps: [
      { at: 0, take: 10, ok: true },
      { at: 0, claim: 8, as: 'large' },
      { at: 0, claim: 1, as: 'small' },
      { at: 5_000, take: 1, ok: false },
      { at: 5_000, available: 0 },
      { at: 7_999, granted: '' },
      { at: 8_000, granted: 'large' },
      { at: 9_000, granted: 'large small' },
    ],
  },
  'the delay counts those who came before': {
    capacity: 10,
    refillPerSecond: 1,
    initial: 2,
    steps: [
      { at: 0, delayOf: 2, ms: 0 },
      { at: 0, delayOf: 5, ms: 3_000 },
      { at: 0, claim: 5, as: 'first' },
      { at: 1_000, delayOf: 1, ms: 3_000 },
      { at: 3_000, granted: 'first' },
      { at: 3_000, delayOf: 1, ms: 1_000 },
    ],
  },
  'who waits behind one that leaves moves up': {
    capacity: 10,
    refillPerSecond: 1,
    initial: 0,
    steps: [
      { at: 0, claim: 5, as: 'first' },
      { at: 0, claim: 3, as: 'second' },
      { at: 1_000, cancel: 'first' },
      { at: 2_999, granted: '' },
      { at: 3_000, granted: 'second' },
    ],
  },
  'one that leaves when the tokens for those behind are there lets them go': {
    capacity: 10,
    refillPerSecond: 1,
    initial: 0,
    steps: [
      { at: 0, claim: 5, as: 'first' },
      { at: 0, claim: 2, as: 'second' },
      { at: 2_500, cancel: 'first' },
      { at: 2_500, granted: 'second' },
      { at: 2_500, available: 0.5 },
    ],
  },
  'a claim that was granted gives back all of it': {
    capacity: 10,
    refillPerSecond: 1,
    initial: 4,
    steps: [
      { at: 0, claim: 3, as: 'used in part' },
      { at: 0, granted: 'used in part' },
      { at: 0, available: 1 },
      { at: 1_000, cancel: 'used in part' },
      { at: 1_000, available: 5 },
    ],
  },
  'what is given back is not more than the capacity': {
    capacity: 10,
    refillPerSecond: 1,
    steps: [
      { at: 0, claim: 3, as: 'a' },
      { at: 0, granted: 'a' },
      { at: 2_000, cancel: 'a' },
      { at: 2_000, available: 10 },
    ],
  },
  'a clock that is set back gives and takes nothing': {
    capacity: 2,
    refillPerSecond: 1,
    steps: [
      { at: 10_000, take: 2, ok: true },
      { at: 5_000, available: 0 },
      { at: 10_500, available: 0.5 },
      { at: 0, take: 1, ok: false },
      { at: 11_000, take: 1, ok: true },
    ],
  },
};

/** A ledger whose claims can be told by name. */
function observed(limits: ConstructorParameters<typeof Ledger>[0], now = 0) {
  const ledger = new Ledger(limits, now);
  const granted: string[] = [];
  const places = new Map<string, ReturnType<Ledger['claim']>>();
  return {
    ledger,
    granted,
    claim(count: number, name: string) {
      const claim: Claim = { count, granted: () => granted.push(name) > 0 };
      places.set(name, ledger.claim(claim));
    },
    cancel: (name: string, at: number) => ledger.cancel(places.get(name) as never, at),
  };
}

describe('the ledger of a bucket', () => {
  test.each(Object.entries(tables))('%s', (_, { steps, capacity, refillPerSecond, initial = capacity }) => {
    const { ledger, granted, claim, cancel } = observed({ capacity, refillPerSecond, initial });
    for (const step of steps) {
      if ('take' in step) expect(ledger.tryTake(step.take, step.at), JSON.stringify(step)).toBe(step.ok);
      else if ('available' in step) expect(ledger.available(step.at)).toBeCloseTo(step.available, 9);
      else if ('delayOf' in step) expect(ledger.delayOf(step.delayOf, step.at)).toBe(step.ms);
      else if ('claim' in step) claim(step.claim, step.as);
      else if ('cancel' in step) cancel(step.cancel, step.at);
      else {
        ledger.advance(step.at);
        expect(granted.join(' '), JSON.stringify(step)).toBe(step.granted);
      }
    }
  });
});

/** Millionths of a token, a millisecond after the other: too slow for use, and too simple to be wrong. */
class SlowBucket {
  #micros: number;
  readonly #capacity: number;
  readonly #perMs: number;
  #queue: { name: string; micros: number }[] = [];
  readonly granted: string[] = [];
  #taken = new Map<string, number>();

  constructor({ capacity, refillPerSecond, initial }: { capacity: number; refillPerSecond: number; initial: number }) {
    this.#micros = initial * 1e6;
    this.#capacity = capacity * 1e6;
    this.#perMs = refillPerSecond * 1e3;
  }

  pass(ms: number): void {
    this.#settle();
    for (; ms > 0; ms--) {
      this.#micros += this.#perMs;
      this.#settle();
    }
  }

  #settle(): void {
    for (let [first] = this.#queue; first && this.#micros >= first.micros; [first] = this.#queue) {
      this.#micros -= first.micros;
      this.#taken.set(first.name, first.micros);
      this.granted.push(first.name);
      this.#queue.shift();
    }
    if (this.#queue.length === 0) this.#micros = Math.min(this.#micros, this.#capacity);
  }

  get available(): number {
    return this.#queue.length > 0 ? 0 : this.#micros / 1e6;
  }

  tryTake(count: number): boolean {
    if (this.#queue.length > 0 || this.#micros < count * 1e6) return false;
    this.#micros -= count * 1e6;
    return true;
  }

  claim(count: number, name: string): void {
    this.#queue.push({ name, micros: count * 1e6 });
  }

  cancel(name: string): void {
    const isWaiting = this.#queue.some((each) => each.name === name);
    this.#queue = this.#queue.filter((each) => each.name !== name);
    if (!isWaiting) this.#micros = Math.min(this.#capacity, this.#micros + (this.#taken.get(name) ?? 0));
    this.#settle();
  }
}

test('any sequence of takes, claims and cancellations goes as in a bucket that is too simple to be wrong', () => {
  const action = fc.oneof(
    fc.record({ do: fc.constant('pass' as const), ms: fc.nat(4_000) }),
    fc.record({ do: fc.constant('take' as const), part: fc.integer({ min: 1, max: 8 }) }),
    fc.record({ do: fc.constant('claim' as const), part: fc.integer({ min: 1, max: 8 }) }),
    fc.record({ do: fc.constant('cancel' as const), which: fc.nat(20) }),
  );
  const limits = fc
    .record({
      capacity: fc.constantFrom(8, 16, 80),
      refillPerSecond: fc.constantFrom(0.1, 0.5, 1, 3, 7, 40),
      level: fc.nat(8),
    })
    .map(({ capacity, refillPerSecond, level }) => ({ capacity, refillPerSecond, initial: (capacity * level) / 8 }));
  fc.assert(
    fc.property(limits, fc.array(action, { maxLength: 60 }), (limits, actions) => {
      let at = 1_000_000;
      const { ledger, granted, claim, cancel } = observed(limits, at);
      const model = new SlowBucket(limits);
      const names: string[] = [];
      let claims = 0;
      for (const action of actions) {
        if (action.do === 'pass') {
          at += action.ms;
          model.pass(action.ms);
        } else if (action.do === 'take') {
          const count = (action.part * limits.capacity) / 8;
          expect(ledger.tryTake(count, at)).toBe(model.tryTake(count));
        } else if (action.do === 'claim') {
          const name = `claim ${claims++}`;
          const count = (action.part * limits.capacity) / 8;
          claim(count, name);
          model.claim(count, name);
          names.push(name);
        } else if (names.length > 0) {
          const [name = ''] = names.splice(action.which % names.length, 1);
          cancel(name, at);
          model.cancel(name);
        }
        ledger.advance(at);
        model.pass(0);
        expect(granted).toEqual(model.granted);
        expect(ledger.available(at)).toBeCloseTo(model.available, 6);
      }
    }),
    { numRuns: 500 },
  );
});
