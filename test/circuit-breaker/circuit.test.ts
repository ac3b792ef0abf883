import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Call, Circuit, type CircuitState, type Outcome } from '../../src/circuit-breaker/circuit.ts';
import { type CircuitBreakerOptions, resolveOptions } from '../../src/circuit-breaker/options.ts';

/** `enter` lets a call through under a name, or expects that none is; the rest says how that call went. */
type Step =
  | { at: number; fails: number }
  | { at: number; succeeds: number }
  | { at: number; enter: string; refused?: true }
  | { at: number; succeed: string }
  | { at: number; fail: string }
  | { at: number; cancel: string }
  | { at: number; state: CircuitState; retryAfterMs?: number };

const open = { cooldownMs: 1_000, failureThreshold: 1 };

const tables: Record<string, { options?: CircuitBreakerOptions; steps: Step[] }> = {
  'five failures in 300 s open it for 120 s, by default': {
    steps: [
      { at: 0, fails: 4 },
      { at: 299_999, state: 'closed', retryAfterMs: 0 },
      { at: 299_999, fails: 1 },
      { at: 299_999, state: 'open', retryAfterMs: 120_000 },
      { at: 299_999, enter: 'early', refused: true },
      { at: 419_998, state: 'open', retryAfterMs: 1 },
      { at: 419_999, state: 'half-open', retryAfterMs: 0 },
    ],
  },
  'a failure is forgotten after the window, to the millisecond': {
    steps: [
      { at: 0, fails: 1 },
      { at: 1, fails: 3 },
      { at: 300_000, fails: 1 },
      { at: 300_000, state: 'closed' },
      { at: 300_000, fails: 1 },
      { at: 300_000, state: 'open' },
    ],
  },
  'successes between failures do not matter to the threshold': {
    steps: [
      { at: 0, fails: 4 },
      { at: 0, succeeds: 1_000 },
      { at: 0, fails: 1 },
      { at: 0, state: 'open' },
    ],
  },
  'a probe that succeeds closes it, and all is forgotten': {
    options: { cooldownMs: 1_000, failureThreshold: 2 },
    steps: [
      { at: 0, fails: 2 },
      { at: 1_000, enter: 'probe' },
      { at: 1_000, enter: 'second', refused: true },
      { at: 1_500, state: 'half-open', retryAfterMs: 500 },
      { at: 1_500, succeed: 'probe' },
      { at: 1_500, fails: 1 },
      { at: 1_500, state: 'closed' },
    ],
  },
  'a probe that fails opens it for another cooldown': {
    options: open,
    steps: [
      { at: 0, fails: 1 },
      { at: 1_000, enter: 'probe' },
      { at: 1_200, fail: 'probe' },
      { at: 1_200, state: 'open', retryAfterMs: 1_000 },
    ],
  },
  'a probe that is cancelled gives its place to the next': {
    options: open,
    steps: [
      { at: 0, fails: 1 },
      { at: 1_000, enter: 'probe' },
      { at: 1_000, cancel: 'probe' },
      { at: 1_000, enter: 'next' },
      { at: 1_000, succeed: 'next' },
      { at: 1_000, state: 'closed' },
    ],
  },
  'as many probes as may run have to succeed': {
    options: { ...open, halfOpenProbes: 3 },
    steps: [
      { at: 0, fails: 1 },
      { at: 1_000, enter: 'a' },
      { at: 1_000, enter: 'b' },
      { at: 1_000, succeed: 'a' },
      { at: 1_000, enter: 'c' },
      { at: 1_000, enter: 'd', refused: true },
      { at: 1_000, succeed: 'b' },
      { at: 1_000, state: 'half-open' },
      { at: 1_000, succeed: 'c' },
      { at: 1_000, state: 'closed' },
    ],
  },
  'a probe that never ends counts as failed after the cooldown': {
    options: { ...open, cooldownMs: 5_000 },
    steps: [
      { at: 0, fails: 1 },
      { at: 6_000, enter: 'hangs' },
      { at: 10_999, state: 'half-open', retryAfterMs: 1 },
      { at: 11_500, state: 'open', retryAfterMs: 4_500 },
      { at: 16_000, enter: 'next' },
      { at: 16_100, fail: 'hangs' },
      { at: 16_200, succeed: 'next' },
      { at: 16_200, state: 'closed' },
    ],
  },
  'a probe that hung long ago is followed by a probe at once': {
    options: open,
    steps: [
      { at: 0, fails: 1 },
      { at: 1_000, enter: 'hangs' },
      { at: 9_000_000, enter: 'next' },
    ],
  },
  'a result of an earlier state counts for nothing': {
    options: open,
    steps: [
      { at: 0, enter: 'old failure' },
      { at: 0, enter: 'old success' },
      { at: 0, fails: 1 },
      { at: 500, fail: 'old failure' },
      { at: 500, state: 'open', retryAfterMs: 500 },
      { at: 1_000, enter: 'probe' },
      { at: 1_000, succeed: 'old success' },
      { at: 1_000, state: 'half-open' },
      { at: 1_100, succeed: 'probe' },
      { at: 1_100, state: 'closed' },
    ],
  },
  'half-open, results that belong to no call count for nothing': {
    options: open,
    steps: [
      { at: 0, fails: 1 },
      { at: 1_000, succeeds: 1 },
      { at: 1_000, fails: 1 },
      { at: 1_000, state: 'half-open' },
    ],
  },
  'the second result of a call counts for nothing': {
    options: { failureThreshold: 2 },
    steps: [
      { at: 0, enter: 'call' },
      { at: 0, fail: 'call' },
      { at: 0, fail: 'call' },
      { at: 0, state: 'closed' },
    ],
  },
  'a growing cooldown grows with each opening and begins anew when it was closed': {
    options: { failureThreshold: 1, cooldownMs: (openings) => 1_000 * 2 ** (openings - 1) },
    steps: [
      { at: 0, fails: 1 },
      { at: 0, state: 'open', retryAfterMs: 1_000 },
      { at: 1_000, enter: 'a' },
      { at: 1_000, fail: 'a' },
      { at: 1_000, state: 'open', retryAfterMs: 2_000 },
      { at: 3_000, enter: 'b' },
      { at: 3_000, fail: 'b' },
      { at: 3_000, state: 'open', retryAfterMs: 4_000 },
      { at: 7_000, enter: 'c' },
      { at: 7_000, succeed: 'c' },
      { at: 7_000, fails: 1 },
      { at: 7_000, state: 'open', retryAfterMs: 1_000 },
    ],
  },
  'half of the calls failed: it opens, not before the minimum of calls': {
    options: { failureRate: 0.5, minimumCalls: 4 },
    steps: [
      { at: 0, fails: 2 },
      { at: 0, succeeds: 1 },
      { at: 0, state: 'closed' },
      { at: 0, succeeds: 1 },
      { at: 0, state: 'open' },
    ],
  },
  'a rate that is not reached lets any number of failures pass': {
    options: { failureRate: 0.5 },
    steps: [
      { at: 0, succeeds: 100 },
      { at: 0, fails: 99 },
      { at: 0, state: 'closed' },
      { at: 0, fails: 1 },
      { at: 0, state: 'open' },
    ],
  },
  'a rate forgets what is older than the window': {
    options: { failureRate: 0.5, minimumCalls: 2, windowMs: 60_000 },
    steps: [
      { at: 0, succeeds: 100 },
      { at: 59_000, fails: 3 },
      { at: 59_999, state: 'closed' },
      { at: 61_000, fails: 1 },
      { at: 61_000, state: 'open' },
    ],
  },
  'a minimum of calls holds for the threshold too': {
    options: { failureThreshold: 2, minimumCalls: 4 },
    steps: [
      { at: 0, fails: 3 },
      { at: 0, state: 'closed' },
      { at: 0, succeeds: 1 },
      { at: 0, state: 'open' },
    ],
  },
  'slow calls open it when they end': {
    options: { slowCallMs: 100, slowCallRate: 0.5, minimumCalls: 2 },
    steps: [
      { at: 0, enter: 'slow' },
      { at: 0, enter: 'quick' },
      { at: 99, succeed: 'quick' },
      { at: 99, state: 'closed' },
      { at: 100, succeed: 'slow' },
      { at: 100, state: 'open' },
    ],
  },
  'slow calls open it while they still run, and are counted once': {
    options: { slowCallMs: 100, slowCallRate: 0.5, minimumCalls: 4 },
    steps: [
      { at: 0, enter: 'a' },
      { at: 0, enter: 'b' },
      { at: 150, succeed: 'a' },
      { at: 150, succeeds: 1 },
      { at: 150, state: 'closed' },
      { at: 150, succeeds: 1 },
      { at: 150, state: 'open' },
    ],
  },
  'a slow call that fails counts as both': {
    options: { slowCallMs: 100, failureRate: 1, minimumCalls: 1 },
    steps: [
      { at: 0, enter: 'a' },
      { at: 50, fail: 'a' },
      { at: 50, state: 'open' },
    ],
  },
  'a slow probe opens it again': {
    options: { ...open, slowCallMs: 100, slowCallRate: 1, minimumCalls: 1 },
    steps: [
      { at: 0, fails: 1 },
      { at: 1_000, enter: 'probe' },
      { at: 1_100, succeed: 'probe' },
      { at: 1_100, state: 'open', retryAfterMs: 1_000 },
    ],
  },
};

/** A circuit whose calls have names. */
function observed(options: CircuitBreakerOptions = {}) {
  const causes: string[] = [];
  const circuit = new Circuit(resolveOptions(options).rules, ({ from, to, cause }) =>
    causes.push(`${from} ${to}: ${cause}`),
  );
  const calls = new Map<string, Call>();
  return {
    circuit,
    causes,
    enter(name: string, at: number): boolean {
      const call = circuit.enter(at);
      if (call) calls.set(name, call);
      return call !== undefined;
    },
    settle(name: string, outcome: Outcome, at: number) {
      const call = calls.get(name);
      if (call) circuit.settle(call, outcome, at);
    },
  };
}

describe('a circuit', () => {
  test.each(Object.entries(tables))('%s', (_, { options, steps }) => {
    const { circuit, enter, settle } = observed(options);
    for (const step of steps) {
      const { at } = step;
      if ('fails' in step) for (let n = 0; n < step.fails; n++) circuit.record('failure', at);
      else if ('succeeds' in step) for (let n = 0; n < step.succeeds; n++) circuit.record('success', at);
      else if ('enter' in step) expect(enter(step.enter, at), JSON.stringify(step)).toBe(!step.refused);
      else if ('succeed' in step) settle(step.succeed, 'success', at);
      else if ('fail' in step) settle(step.fail, 'failure', at);
      else if ('cancel' in step) settle(step.cancel, 'cancelled', at);
      else {
        expect(circuit.state(at), JSON.stringify(step)).toBe(step.state);
        if (step.retryAfterMs !== undefined) expect(circuit.retryAfterMs(at)).toBe(step.retryAfterMs);
        expect(circuit.canEnter(at)).toBe(circuit.retryAfterMs(at) === 0);
      }
    }
  });

  test('says why it went from one state to another', () => {
    const { circuit, causes, enter, settle } = observed({ ...open, slowCallMs: 100, minimumCalls: 1 });
    circuit.record('failure', 0);
    enter('slow', 1_000);
    settle('slow', 'success', 1_100);
    enter('hangs', 2_100);
    enter('good', 4_100);
    settle('good', 'success', 4_150);
    enter('slow again', 4_200);
    circuit.state(4_300);
    circuit.close('reset', 4_300);
    circuit.isolate(4_300);
    circuit.close('released', 4_300);
    expect(causes).toEqual([
      'closed open: failures',
      'open half-open: cooldown-over',
      'half-open open: probe-slow',
      'open half-open: cooldown-over',
      'half-open open: probe-expired',
      'open half-open: cooldown-over',
      'half-open closed: probes-succeeded',
      'closed open: slow-calls',
      'open closed: reset',
      'closed open: isolated',
      'open closed: released',
    ]);
  });
});

interface ModelOptions {
  readonly failureThreshold: number;
  readonly windowMs: number;
  readonly minimumCalls: number;
  readonly failureRate: number;
  readonly slowCallMs: number;
  readonly slowCallRate: number;
  readonly halfOpenProbes: number;
  readonly cooldownMs: (openings: number) => number;
}

interface ModelCall {
  readonly name: string;
  readonly at: number;
  readonly period: number;
  isOver: boolean;
  /** When it became slow. */
  countedAt: number | undefined;
}

/** Keeps all that ever happened and reads it anew at each question: too slow for use, and too simple to be wrong. */
class SlowCircuit {
  state: CircuitState = 'closed';
  readonly #options: ModelOptions;
  #period = 0;
  #since = 0;
  #openings = 0;
  #succeeded = 0;
  #events: { at: number; kind: 'call' | 'failure' | 'slow' }[] = [];
  readonly #calls: ModelCall[] = [];

  constructor(options: ModelOptions) {
    this.#options = options;
  }

  /** A millisecond after the other. */
  pass(from: number, to: number): void {
    for (let at = from; at <= to; at++) this.#tick(at);
  }

  #tick(at: number): void {
    const { cooldownMs, slowCallMs } = this.#options;
    if (this.state === 'open' && at >= this.#since + cooldownMs(this.#openings)) this.#go('half-open', at);
    if (
      this.state === 'half-open' &&
      this.#running().some((call) => at >= call.at + Math.max(1_000, cooldownMs(this.#openings)))
    ) {
      this.#open(at);
    }
    if (this.state !== 'closed') return;
    const slow = this.#running().filter((call) => call.countedAt === undefined && at - call.at >= slowCallMs);
    for (const call of slow) {
      call.countedAt = at;
      this.#note(at, 'call', 'slow');
    }
    if (slow.length > 0) this.#judge(at);
  }

  #running(): ModelCall[] {
    return this.#calls.filter((call) => call.period === this.#period && !call.isOver);
  }

  enter(name: string, at: number): boolean {
    const isFull = this.#running().length + this.#succeeded >= this.#options.halfOpenProbes;
    if (this.state === 'open' || (this.state === 'half-open' && isFull)) return false;
    this.#calls.push({ name, at, period: this.#period, isOver: false, countedAt: undefined });
    return true;
  }

  settle(name: string, outcome: Outcome, at: number): void {
    const call = this.#calls.find((each) => each.name === name);
    if (!call || call.isOver) return;
    call.isOver = true;
    if (call.period !== this.#period || outcome === 'cancelled') return;
    const isSlow = at - call.at >= this.#options.slowCallMs;
    if (this.state === 'half-open') {
      if (outcome === 'failure' || isSlow) this.#open(at);
      else if (++this.#succeeded >= this.#options.halfOpenProbes) this.#go('closed', at);
    } else {
      const isCounted = call.countedAt !== undefined && this.#remembers(call.countedAt, at);
      if (!isCounted) this.#note(at, 'call', ...(isSlow ? ['slow' as const] : []));
      if (outcome === 'failure') this.#note(at, 'failure');
      this.#judge(at);
    }
  }

  record(outcome: 'success' | 'failure', at: number): void {
    if (this.state !== 'closed') return;
    this.#note(at, 'call', ...(outcome === 'failure' ? ['failure' as const] : []));
    this.#judge(at);
  }

  #note(at: number, ...kinds: ('call' | 'failure' | 'slow')[]): void {
    this.#events.push(...kinds.map((kind) => ({ at, kind })));
  }

  #remembers(instant: number, at: number): boolean {
    const bucket = (instant: number) => Math.floor(instant / (this.#options.windowMs / 60));
    return bucket(instant) >= bucket(at) - 60;
  }

  #judge(at: number): void {
    const { failureThreshold, windowMs, minimumCalls, failureRate, slowCallRate } = this.#options;
    const count = (wanted: string) =>
      this.#events.filter(({ at: instant, kind }) => kind === wanted && this.#remembers(instant, at)).length;
    const exact = this.#events.filter(({ at: instant, kind }) => kind === 'failure' && at - instant < windowMs).length;
    const calls = count('call');
    if (calls < minimumCalls) return;
    const isFailing = exact >= failureThreshold || count('failure') >= failureRate * calls;
    if (isFailing || count('slow') >= slowCallRate * calls) this.#open(at);
  }

  #open(at: number): void {
    this.#openings++;
    this.#go('open', at);
  }

  #go(to: CircuitState, at: number): void {
    if (to === 'closed') this.#openings = 0;
    this.state = to;
    this.#since = at;
    this.#period++;
    this.#succeeded = 0;
    this.#events = [];
    this.#tick(at);
  }
}

test('any sequence of calls goes as in a circuit that is too simple to be wrong', () => {
  const options = fc.record({
    failureThreshold: fc.constantFrom(1, 2, 3, Number.POSITIVE_INFINITY),
    windowMs: fc.constantFrom(600, 3_000),
    minimumCalls: fc.constantFrom(1, 3),
    failureRate: fc.constantFrom(0.5, 0.8, 1),
    slowCallMs: fc.constantFrom(50, 400),
    slowCallRate: fc.constantFrom(0.5, 1),
    halfOpenProbes: fc.integer({ min: 1, max: 3 }),
    cooldownMs: fc.constantFrom(
      () => 300,
      (openings: number) => 200 * openings,
    ),
  });
  const which = fc.nat(30);
  const action = fc.oneof(
    fc.record({ do: fc.constant('pass' as const), ms: fc.oneof(fc.nat(60), fc.nat(1_500)) }),
    fc.record({ do: fc.constant('enter' as const) }),
    fc.record({
      do: fc.constant('settle' as const),
      which,
      outcome: fc.constantFrom<Outcome>('success', 'failure', 'cancelled'),
    }),
    fc.record({ do: fc.constant('record' as const), outcome: fc.constantFrom('success' as const, 'failure' as const) }),
  );
  fc.assert(
    fc.property(options, fc.array(action, { maxLength: 80 }), (options, actions) => {
      const { circuit, enter, settle } = observed(options);
      const model = new SlowCircuit(options);
      let at = 0;
      let calls = 0;
      for (const action of actions) {
        if (action.do === 'pass') {
          // Looked at each millisecond: what time brings depends on when somebody asks for calls that turn slow alone.
          for (const end = at + action.ms; at < end; ) circuit.state(++at);
          model.pass(at - action.ms + 1, at);
        } else if (action.do === 'enter') {
          const name = `call ${calls++}`;
          expect(enter(name, at)).toBe(model.enter(name, at));
        } else if (action.do === 'record') {
          circuit.record(action.outcome, at);
          model.record(action.outcome, at);
        } else if (calls > 0) {
          const name = `call ${action.which % calls}`;
          settle(name, action.outcome, at);
          model.settle(name, action.outcome, at);
        }
        expect(circuit.state(at)).toBe(model.state);
      }
    }),
    { numRuns: 1_000 },
  );
});
