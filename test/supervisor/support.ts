import { type ServiceContext, Supervisor, type SupervisorOptions } from 'holdfast';
import { vi } from 'vitest';

export const broken: Error = new Error('broken');

export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

export async function settled(): Promise<void> {
  await pass(0);
}

/** Without guards, but for those that are given; its pauses are as long as they can be. */
export function supervised(options: SupervisorOptions = {}): Supervisor {
  const none = { cooldownMs: 0, breaker: false, intensity: Number.POSITIVE_INFINITY } as const;
  return new Supervisor({ ...none, backoff: { minMs: 0, jitter: 'none' }, ...options });
}

export interface PuppetRun extends ServiceContext {
  end(): void;
  fail(error?: unknown): void;
}

/** A service whose runs are ended by the test. */
export class Puppet {
  readonly runs: PuppetRun[] = [];

  readonly service = (context: ServiceContext): Promise<void> =>
    new Promise((resolve, reject) => {
      const { signal } = context;
      this.runs.push({ ...context, end: resolve, fail: (error = broken) => reject(error) });
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });

  readonly last = (): PuppetRun => this.runs[this.runs.length - 1] as PuppetRun;
}
