import { HeartbeatTimeoutError } from '../errors.ts';
import { now } from '../internal/time.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import { Living } from './living.ts';
import { type Part, Tally } from './metric.ts';

export function supervisors(): Part {
  const restarts = new Tally();
  const recent = new Recent(60_000);
  const storms = Tally.fromZero();
  const silences = new Tally();
  const forget = (ids: Iterable<string>) => {
    const others = new Set([...all.records()].flatMap((known) => [...known]));
    for (const id of ids) for (const tally of [restarts, silences]) if (!others.has(id)) tally.forget('id', id);
  };
  /** With the ids that each of them has. */
  const all = new Living<Supervisor, Set<string>>(forget);
  return {
    metrics: [
      {
        type: 'gauge',
        name: 'restart_rate_per_minute',
        help: 'Restarts of all services in the last minute',
        read: () => [{ value: recent.count(), labels: {} }],
      },
      { type: 'counter', name: 'restarts_total', help: 'Restarts of each service', read: () => restarts.samples() },
      {
        type: 'counter',
        name: 'restart_storms_total',
        help: 'Times that there were too many restarts at once',
        read: () => storms.samples(),
      },
      {
        type: 'counter',
        name: 'health_timeouts_total',
        help: 'Times that a service gave no sign of life for too long',
        read: () => silences.samples(),
      },
    ],
    listeners: {
      'holdfast:supervisor:created': ({ supervisor }: { supervisor: Supervisor }) => all.add(supervisor, new Set()),
      'holdfast:supervisor:closed': ({ supervisor }: { supervisor: Supervisor }) => all.delete(supervisor),
      // From its first run on there is a count, so that the first restart and the first silence are an increase.
      'holdfast:supervisor:run': ({ supervisor, id, isRestart }: RunStarted) => {
        all.recordOf(supervisor)?.add(id);
        restarts.add(Number(isRestart), { id });
        silences.add(0, { id });
        if (isRestart) recent.add();
      },
      'holdfast:supervisor:storm': () => storms.add(1),
      'holdfast:supervisor:failure': ({ id, error }: { id: string; error: unknown }) => {
        if (error instanceof HeartbeatTimeoutError) silences.add(1, { id });
      },
      'holdfast:supervisor:forgotten': ({ supervisor, id }: { supervisor: Supervisor; id: string }) => {
        all.recordOf(supervisor)?.delete(id);
        forget([id]);
      },
    },
  };
}

interface RunStarted {
  readonly supervisor: Supervisor;
  readonly id: string;
  readonly isRestart: boolean;
}

/** How often something happened lately. */
class Recent {
  readonly #periodMs: number;
  readonly #instants: number[] = [];

  constructor(periodMs: number) {
    this.#periodMs = periodMs;
  }

  add(): void {
    this.#instants.push(now());
    this.count();
  }

  count(): number {
    const since = now() - this.#periodMs;
    const first = this.#instants.findIndex((instant) => instant > since);
    this.#instants.splice(0, first === -1 ? this.#instants.length : first);
    return this.#instants.length;
  }
}
