// Random histories of a supervisor: what must hold at every moment, whatever meets what.
import fc from 'fast-check';
import { RestartRefusedError, type ServiceContext, type ServiceHandle, Supervisor } from 'holdfast';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const INTENSITY = 3;
const PERIOD_MS = 1_000;
const COOLDOWN_MS = 150;
const CIRCUIT_MS = 400;
const SILENCE_MS = 300;
const STABLE_MS = 500;
const GRACE_MS = 350;
const OPTIONS = {
  ...{ intensity: INTENSITY, periodMs: PERIOD_MS, cooldownMs: COOLDOWN_MS, stableAfterMs: STABLE_MS },
  ...{ startGraceMs: GRACE_MS, heartbeat: { timeoutMs: SILENCE_MS / 3 }, stopTimeoutMs: 200 },
  backoff: { minMs: 20, maxMs: 200, jitter: 'none' },
  breaker: { failureThreshold: 3, windowMs: 2_000, cooldownMs: CIRCUIT_MS },
} as const;

type Mode = 'permanent' | 'transient' | 'temporary';

/** One call of the service's function, in the hands of the test. */
interface Call {
  readonly context: ServiceContext;
  isOver: boolean;
  end(): void;
  fail(): void;
}

/** A service that ends as it is told to, and some turns after its signal aborts. */
class Puppet {
  readonly calls: Call[] = [];
  readonly faults: string[];
  handle: ServiceHandle | undefined;
  mode: Mode = 'permanent';
  isStopping = false;

  constructor(faults: string[]) {
    this.faults = faults;
  }

  get live(): Call | undefined {
    return this.calls.find(({ isOver }) => !isOver);
  }

  readonly service = (context: ServiceContext): Promise<void> => {
    if (this.live) this.faults.push('two calls at a time');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const call: Call = {
      context,
      isOver: false,
      end: () => {
        call.isOver = true;
        resolve();
      },
      fail: () => {
        call.isOver = true;
        reject(new Error('broken'));
      },
    };
    this.calls.push(call);
    context.signal.addEventListener('abort', () => setTimeout(() => call.end(), this.calls.length % 3));
    return promise;
  };
}

const IDS = ['a', 'b', 'c'] as const;
const step = fc.record({
  do: fc.constantFrom(
    ...(['start', 'start', 'end', 'fail', 'fail', 'fail', 'ready', 'beat', 'restart', 'stop', 'pass', 'pass'] as const),
  ),
  id: fc.constantFrom(...IDS),
  mode: fc.constantFrom<Mode>('permanent', 'permanent', 'transient', 'temporary'),
  ms: fc.integer({ min: 0, max: 400 }),
  /** How many turns of the microtask queue there are until the next. */
  turns: fc.nat({ max: 12 }),
});

test('whatever happens at any moment: one call at a time, restarts within all bounds, none forgotten, nothing left', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
      vi.clearAllTimers();
      const supervisor = new Supervisor(OPTIONS);
      /** What is thrown in a listener or a service would not end the test. */
      const faults: string[] = [];
      const puppets = new Map(IDS.map((id) => [id as string, new Puppet(faults)]));
      const restarts: { id: string; at: number }[] = [];
      const forgottenAt = new Map<string, number>();
      const promises: Promise<unknown>[] = [];
      supervisor.on('restart', (id) => {
        const at = performance.now();
        const own = restarts.findLast((each) => each.id === id && each.at >= (forgottenAt.get(id) ?? 0));
        if (own && at - own.at < COOLDOWN_MS)
          faults.push(`${id} was restarted ${at - own.at} ms after its last restart`);
        restarts.push({ id, at });
        const within = restarts.filter((each) => each.at > at - PERIOD_MS).length;
        if (within > INTENSITY) faults.push(`${within} restarts within the period`);
      });
      for (const { do: what, id, mode, ms, turns } of steps) {
        const puppet = puppets.get(id) as Puppet;
        if (what === 'start') {
          const isOver = !puppet.handle || ['stopped', 'failed'].includes(puppet.handle.state);
          if (!isOver || puppet.isStopping || puppet.live) continue;
          puppet.mode = mode;
          puppet.handle = supervisor.start(id, puppet.service, { restart: mode });
        } else if (what === 'stop') {
          puppet.isStopping = true;
          const { handle, live } = puppet;
          const stopped = supervisor.stop(id).then(() => {
            expect(live?.isOver).not.toBe(false);
            // Of two stops one is over first, and what is started before the other is over is left alone.
            if (puppet.handle !== handle) return;
            puppet.isStopping = false;
            puppet.handle = undefined;
            forgottenAt.set(id, performance.now() + 1e-6);
            expect(puppet.live).toBeUndefined();
          });
          promises.push(stopped);
        } else if (what === 'restart' && puppet.handle) {
          const count = puppet.calls.length;
          const verdict = supervisor.canRestart(id);
          const restarted = puppet.handle.restart().then(
            () => expect(puppet.calls.length).toBeGreaterThanOrEqual(count),
            (error) => {
              if (!(error instanceof RestartRefusedError)) expect(error).toMatchObject({ code: 'HOLDFAST_CLOSED' });
              else expect({ allowed: false, why: error.why, retryAfterMs: error.retryAfterMs }).toEqual(verdict);
            },
          );
          promises.push(restarted);
        } else if (what === 'pass') await vi.advanceTimersByTimeAsync(ms);
        else if (what === 'end') puppet.live?.end();
        else if (what === 'fail') puppet.live?.fail();
        else if (what === 'ready') puppet.live?.context.ready();
        else if (what === 'beat') puppet.live?.context.beat();
        for (let turn = 0; turn < turns; turn++) await undefined;
      }

      // At rest: what is told of each is so.
      await vi.advanceTimersByTimeAsync(5);
      for (const status of supervisor.status()) {
        const puppet = puppets.get(status.id) as Puppet;
        if (puppet.live) expect(['starting', 'running']).toContain(status.state);
        else expect(['backing-off', 'blocked', 'stopped', 'failed']).toContain(status.state);
        if (status.state === 'backing-off') expect(status.refusal?.why).toBe('backoff');
        if (status.state === 'blocked') expect(['cooldown', 'storm', 'circuit-open']).toContain(status.refusal?.why);
        if (puppet.mode === 'permanent' && !puppet.isStopping)
          expect(['stopped', 'failed']).not.toContain(status.state);
      }
      // Whatever refused, each that is not over runs again in the end.
      for (let round = 0; round < 200; round++) {
        for (const { live } of puppets.values()) live?.context.beat();
        await vi.advanceTimersByTimeAsync(50);
      }
      for (const status of supervisor.status()) {
        expect(['starting', 'running', 'stopped', 'failed']).toContain(status.state);
      }
      const closed = supervisor.close();
      await vi.advanceTimersByTimeAsync(5);
      await Promise.all([closed, ...promises]);
      for (const { live } of puppets.values()) expect(live).toBeUndefined();
      expect([faults, supervisor.status(), vi.getTimerCount()]).toEqual([[], [], 0]);
    }),
    { numRuns: 200 },
  );
});
