// Random histories of a pool against a model that looks through all it knows for each answer.
import fc from 'fast-check';
import { type ProcessLease, ProcessPool, type SpawnContext } from 'holdfast';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const MAX = 2;
const MAX_WAITERS = 4;
const BACKOFF_MS = 101;
const SPAWN_TIMEOUT_MS = 997;
const TIMEOUT_MS = 2_503;
const MAX_ATTEMPTS = 3;

/** What became of who called `acquire`. */
type Outcome = 'pending' | 'leased' | 'left' | 'failed' | 'passing' | 'late' | 'closed' | 'limit' | 'spawn-timeout';

interface ModelCaller {
  readonly deadline: number;
  readonly seq: number;
  outcome: Outcome;
}

interface ModelFlight {
  readonly name: number;
  readonly key: string | undefined;
  readonly priority: number;
  readonly callers: ModelCaller[];
  attempt: number;
  phase: 'waiting' | 'starting' | 'backing-off' | 'over';
  /** Its place among those who wait, and until when it backs off or starts. */
  since: number;
  until: number;
  untilSeq: number;
}

/** A slot that is taken: by a call of spawn, and then by the child that it gave. */
interface ModelSlot {
  readonly call: string;
  readonly flight: ModelFlight;
  phase: 'spawning' | 'leased';
}

class Model {
  now = 0;
  seq = 0;
  isOpen = true;
  readonly flights: ModelFlight[] = [];
  readonly slots: ModelSlot[] = [];
  readonly callers: ModelCaller[] = [];
  /** The calls of spawn, in order. */
  readonly calls: string[] = [];

  under(phase: ModelFlight['phase']): ModelFlight[] {
    return this.flights.filter((flight) => flight.phase === phase);
  }

  acquire(key: string | undefined, priority: number): void {
    const caller: ModelCaller = { deadline: this.now + TIMEOUT_MS, seq: this.seq++, outcome: 'pending' };
    this.callers.push(caller);
    if (!this.isOpen) {
      caller.outcome = 'closed';
      return;
    }
    const joined = this.flights.find((flight) => key !== undefined && flight.key === key && flight.phase !== 'over');
    if ((joined || this.slots.length >= MAX) && this.waiters() >= MAX_WAITERS) {
      caller.outcome = 'limit';
      return;
    }
    if (joined) {
      joined.callers.push(caller);
      return;
    }
    const flight: ModelFlight = {
      ...{ name: this.flights.length, key, priority, callers: [caller], attempt: 0 },
      ...{ phase: 'waiting', since: this.seq++, until: Number.POSITIVE_INFINITY, untilSeq: 0 },
    };
    this.flights.push(flight);
    this.serve();
  }

  /** All who are told nothing yet, but for the first of each flight that has a slot or backs off. */
  waiters(): number {
    const callers = this.flights.flatMap(({ callers }) => callers);
    const others = this.under('starting').length + this.under('backing-off').length;
    return callers.filter(({ outcome }) => outcome === 'pending').length - others;
  }

  isWanted({ flight, call }: ModelSlot): boolean {
    return flight.phase === 'starting' && call === `${flight.name}#${flight.attempt}`;
  }

  /** Free slots go to the highest priority, and to the earliest within one. */
  serve(): void {
    while (this.slots.length < MAX) {
      const [next] = this.under('waiting').sort((a, b) => b.priority - a.priority || a.since - b.since);
      if (!next) return;
      next.attempt++;
      next.phase = 'starting';
      next.until = this.now + SPAWN_TIMEOUT_MS;
      next.untilSeq = this.seq++;
      const call = `${next.name}#${next.attempt}`;
      this.calls.push(call);
      this.slots.push({ call, flight: next, phase: 'spawning' });
    }
  }

  /** A call of spawn is answered, be it by then wanted or not. */
  answer(slot: ModelSlot, how: 'child' | 'failed' | 'passing'): void {
    const { flight } = slot;
    const isWanted = this.isWanted(slot);
    if (how === 'child' && isWanted) {
      slot.phase = 'leased';
      this.finish(flight, 'leased');
      return;
    }
    this.slots.splice(this.slots.indexOf(slot), 1);
    if (how !== 'child' && isWanted) this.attemptFailed(flight, how);
    this.serve();
  }

  attemptFailed(flight: ModelFlight, how: 'failed' | 'passing' | 'spawn-timeout'): void {
    const isFull = this.under('backing-off').length >= Math.max(MAX_WAITERS, MAX);
    if (how === 'failed' || flight.attempt === MAX_ATTEMPTS || isFull) {
      this.finish(flight, how);
      return;
    }
    flight.phase = 'backing-off';
    flight.until = this.now + BACKOFF_MS;
    flight.untilSeq = this.seq++;
  }

  finish(flight: ModelFlight, outcome: Outcome): void {
    flight.phase = 'over';
    for (const caller of flight.callers) if (caller.outcome === 'pending') caller.outcome = outcome;
  }

  leave(caller: ModelCaller, outcome: 'left' | 'late'): void {
    if (caller.outcome !== 'pending') return;
    caller.outcome = outcome;
    const flight = this.flights.find(({ callers }) => callers.includes(caller));
    if (flight?.callers.every((each) => each.outcome !== 'pending')) flight.phase = 'over';
  }

  end(slot: ModelSlot): void {
    this.slots.splice(this.slots.indexOf(slot), 1);
    this.serve();
  }

  close(): void {
    this.isOpen = false;
    for (const flight of this.flights) if (flight.phase !== 'over') this.finish(flight, 'closed');
    for (const slot of this.slots.filter(({ phase }) => phase === 'leased')) this.end(slot);
  }

  pass(ms: number): void {
    const target = this.now + ms;
    for (;;) {
      const pending = this.callers.filter(({ outcome }) => outcome === 'pending');
      const timed = this.flights.filter(({ phase }) => phase === 'starting' || phase === 'backing-off');
      const next = [
        ...pending.map((caller) => ({ at: caller.deadline, seq: caller.seq, run: () => this.leave(caller, 'late') })),
        ...timed.map((flight) => ({ at: flight.until, seq: flight.untilSeq, run: () => this.timeUp(flight) })),
      ].sort((a, b) => a.at - b.at || a.seq - b.seq)[0];
      if (!next || next.at > target) break;
      this.now = next.at;
      next.run();
    }
    this.now = target;
  }

  timeUp(flight: ModelFlight): void {
    if (flight.phase === 'starting') {
      this.attemptFailed(flight, 'spawn-timeout');
      return;
    }
    flight.phase = 'waiting';
    flight.since = this.seq++;
    this.serve();
  }
}

const index = fc.nat({ max: 20 });
const step = fc.oneof(
  {
    weight: 24,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      key: fc.option(fc.constantFrom('a', 'b'), { nil: undefined, freq: 3 }),
      priority: fc.integer({ min: -1, max: 1 }),
    }),
  },
  {
    weight: 30,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      index,
      how: fc.constantFrom('child' as const, 'child' as const, 'failed' as const, 'passing' as const),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constantFrom('abort' as const, 'end' as const, 'release' as const), index }),
  },
  { weight: 18, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 600 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drain' as const) }) },
);

const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(list.length, 1)];
const settled = () => vi.advanceTimersByTimeAsync(0);

function outcomeOf(error: unknown): Outcome {
  const codes: Record<string, Outcome> = {
    ...{ HOLDFAST_ACQUIRE_TIMEOUT: 'late', HOLDFAST_CLOSED: 'closed', HOLDFAST_WAITER_LIMIT: 'limit' },
    ...{ HOLDFAST_SPAWN_TIMEOUT: 'spawn-timeout' },
  };
  return codes[(error as { code?: string }).code ?? ''] ?? ((error as Error).message as Outcome);
}

test('a pool does what a model does that looks through all it knows: slots, priorities, keys, retries, time-outs', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), fc.boolean(), async (steps, endsByClose) => {
      vi.clearAllTimers();
      const acquire = { backoffMs: () => BACKOFF_MS, spawnTimeoutMs: SPAWN_TIMEOUT_MS, timeoutMs: TIMEOUT_MS };
      const pool = new ProcessPool({
        max: MAX,
        maxWaiters: MAX_WAITERS,
        acquire: { ...acquire, maxAttempts: MAX_ATTEMPTS },
      });
      const model = new Model();
      const calls: string[] = [];
      const spawning = new Map<string, PromiseWithResolvers<FakeChild>>();
      const children = new Map<string, FakeChild>();
      const leases = new Map<FakeChild, ProcessLease<FakeChild>>();
      const outcomes: Outcome[] = [];
      const controllers: AbortController[] = [];
      let drains = Promise.resolve();

      const begin = (key: string | undefined, priority: number) => {
        const number = outcomes.push('pending') - 1;
        const name = model.flights.length;
        const controller = new AbortController();
        controllers.push(controller);
        model.acquire(key, priority);
        const spawn = ({ attempt }: SpawnContext) => {
          const call = `${name}#${attempt}`;
          calls.push(call);
          const answer = Promise.withResolvers<FakeChild>();
          spawning.set(call, answer);
          return answer.promise;
        };
        pool.acquire(spawn, { key, priority, signal: controller.signal }).then(
          (lease) => {
            outcomes[number] = 'leased';
            leases.set(lease.child, lease);
          },
          (error) => {
            outcomes[number] = outcomeOf(error);
          },
        );
      };

      const check = async () => {
        await settled();
        expect(calls).toEqual(model.calls);
        expect(outcomes).toEqual(model.callers.map(({ outcome }) => outcome));
        const active = model.slots.filter(({ phase }) => phase === 'leased').length;
        expect(pool.stats()).toEqual({
          ...{ max: MAX, active, starting: model.slots.length - active, stuck: 0 },
          overdue: model.slots.filter((slot) => slot.phase === 'spawning' && !model.isWanted(slot)).length,
          ...{ waiting: model.under('waiting').length, backingOff: model.under('backing-off').length },
        });
        expect([...children.values()].filter(({ isGone }) => !isGone).length).toBe(active);
      };

      for (const each of steps) {
        if (each.do === 'acquire') begin(each.key, each.priority);
        else if (each.do === 'pass') {
          model.pass(each.ms);
          await vi.advanceTimersByTimeAsync(each.ms);
        } else if (each.do === 'drain') {
          if (model.isOpen) drains = drains.then(() => pool.drain({ timeoutMs: Number.POSITIVE_INFINITY }));
          if (model.isOpen) await settled();
          model.isOpen = false;
        } else if (each.do === 'answer') {
          const slot = pick(
            model.slots.filter(({ phase }) => phase === 'spawning'),
            each.index,
          );
          if (!slot) continue;
          const { resolve, reject } = spawning.get(slot.call) as PromiseWithResolvers<FakeChild>;
          if (each.how === 'child') {
            children.set(slot.call, new FakeChild());
            resolve(children.get(slot.call) as FakeChild);
          } else reject(Object.assign(new Error(each.how), { retryable: each.how === 'passing' }));
          model.answer(slot, each.how);
        } else if (each.do === 'abort') {
          const caller = pick(model.callers, each.index);
          if (!caller) continue;
          controllers[model.callers.indexOf(caller)]?.abort(new Error('left'));
          model.leave(caller, 'left');
        } else {
          const slot = pick(
            model.slots.filter(({ phase }) => phase === 'leased'),
            each.index,
          );
          if (!slot) continue;
          const child = children.get(slot.call) as FakeChild;
          if (each.do === 'end') child.end('exited');
          else await Promise.all([leases.get(child)?.release(), leases.get(child)?.release()]);
          model.end(slot);
        }
        await check();
      }

      if (endsByClose) {
        const closed = pool.close();
        model.close();
        await check();
        for (const slot of [...model.slots]) {
          spawning.get(slot.call)?.reject(new Error('failed'));
          model.answer(slot, 'failed');
        }
        await check();
        await closed;
      } else {
        while (model.slots.length > 0 || model.flights.some(({ phase }) => phase !== 'over')) {
          for (const slot of [...model.slots]) {
            if (slot.phase === 'spawning') {
              spawning.get(slot.call)?.reject(new Error('failed'));
              model.answer(slot, 'failed');
            } else {
              children.get(slot.call)?.end('exited');
              model.end(slot);
            }
            await check();
          }
          model.pass(50);
          await vi.advanceTimersByTimeAsync(50);
          await check();
        }
        await pool.drain();
      }
      await drains;
      expect(pool.leases()).toEqual([]);
      expect(vi.getTimerCount()).toBe(0);
    }),
    { numRuns: 300 },
  );
});

const abrupt = fc.record({
  do: fc.constantFrom(
    'acquire' as const,
    'child' as const,
    'passing' as const,
    'failed' as const,
    'abort' as const,
    'end' as const,
    'release' as const,
    'pass' as const,
  ),
  index,
  key: fc.constantFrom('a', 'b', undefined),
  /** How many turns of the microtask queue there are until the next: what is under way is met at any point. */
  turns: fc.nat({ max: 5 }),
});

test('whenever what happens meets what is under way: no slot too many, none lost, nothing left, and every caller is told', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(abrupt, { maxLength: 60, size: 'max' }),
      fc.option(fc.nat({ max: 60 })),
      async (steps, closeAt) => {
        vi.clearAllTimers();
        const acquire = { backoffMs: () => BACKOFF_MS, spawnTimeoutMs: SPAWN_TIMEOUT_MS, timeoutMs: TIMEOUT_MS };
        const pool = new ProcessPool({
          max: MAX,
          maxWaiters: MAX_WAITERS,
          acquire: { ...acquire, maxAttempts: MAX_ATTEMPTS },
        });
        const spawning = new Set<PromiseWithResolvers<FakeChild>>();
        const living = new Set<FakeChild>();
        const leases: ProcessLease<FakeChild>[] = [];
        const ends: Promise<unknown>[] = [];
        /** Of those who wait. */
        const controllers = new Set<AbortController>();
        let closing: Promise<void> | undefined;
        let most = 0;
        const spawn = () => {
          const answer = Promise.withResolvers<FakeChild>();
          spawning.add(answer);
          most = Math.max(most, spawning.size + living.size);
          return answer.promise;
        };
        const give = (answer: PromiseWithResolvers<FakeChild>) => {
          const child = new FakeChild();
          living.add(child);
          spawning.delete(answer);
          answer.resolve(child);
          child.closed.then(() => living.delete(child));
        };
        const fail = (answer: PromiseWithResolvers<FakeChild>, retryable: boolean) => {
          spawning.delete(answer);
          answer.reject(Object.assign(new Error('failed'), { retryable }));
        };
        for (const [number, { do: what, index, key, turns }] of steps.entries()) {
          if (number === closeAt) closing = pool.close();
          const answer = pick([...spawning], index);
          if (what === 'acquire') {
            const controller = new AbortController();
            controllers.add(controller);
            const acquiring = pool.acquire(spawn, { key, signal: controller.signal });
            ends.push(
              acquiring
                .then((lease) => leases.push(lease))
                .catch(() => {})
                .finally(() => controllers.delete(controller)),
            );
          } else if (what === 'pass') await vi.advanceTimersByTimeAsync(index * 50);
          else if (what === 'abort') pick([...controllers], index)?.abort();
          else if (what === 'end') pick([...living], index)?.end('exited');
          else if (what === 'release') pick(leases, index)?.release();
          else if (answer && what === 'child') give(answer);
          else if (answer) fail(answer, what === 'passing');
          for (let turn = 0; turn < turns; turn++) await undefined;
          expect(spawning.size + living.size).toBeLessThanOrEqual(MAX);
        }
        let isEmpty = false;
        const drained = pool.drain().then(() => {
          isEmpty = true;
        });
        for (let round = 0; round < 100 && !isEmpty; round++) {
          for (const answer of [...spawning]) give(answer);
          await settled();
          // Not those of the pool: a lease that nobody got must have been given back by the pool itself.
          for (const lease of leases) await lease.release();
          await vi.advanceTimersByTimeAsync(BACKOFF_MS);
        }
        expect(most).toBeLessThanOrEqual(MAX);
        expect(isEmpty).toBe(true);
        await Promise.all([drained, closing, ...ends]);
        expect(pool.stats()).toEqual({
          max: MAX,
          active: 0,
          starting: 0,
          waiting: 0,
          backingOff: 0,
          overdue: 0,
          stuck: 0,
        });
        expect([living.size, spawning.size, pool.leases().length, vi.getTimerCount()]).toEqual([0, 0, 0, 0]);
      },
    ),
    { numRuns: 1_000 },
  );
});
