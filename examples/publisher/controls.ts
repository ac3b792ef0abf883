import { minFreeFds, minFreeMemory, ProcessPool, Supervisor, TokenBucket } from 'holdfast';
import { isFaultOfSource } from './failure.ts';
import type { Logger } from './log.ts';

/** What bounds all channels together: how many processes there are, and how often what fails is opened again. */
export interface Controls {
  readonly supervisor: Supervisor;
  readonly pool: ProcessPool;
}

export interface ControlSettings {
  readonly maxProcesses: number;
  readonly restartCooldownMs: number;
}

/** Descriptors of a channel and its viewers. */
const SPARE_DESCRIPTORS = 64;
const SPARE_MEMORY = { fraction: 0.05 };
/** All channels of a house may be wanted at once, but not again and again. */
const SPAWN_RATE = { capacity: 16, refillPerSecond: 4 };

export function createControls(settings: ControlSettings, log: Logger): Controls {
  const { maxProcesses, restartCooldownMs } = settings;
  const supervisor = new Supervisor({ cooldownMs: restartCooldownMs, breaker: { isFailure: isFaultOfSource } });
  supervisor.on('storm', (retryAfterMs) =>
    log.warn(`too many sources fail: no channel is opened again for ${Math.ceil(retryAfterMs / 1_000)} s`),
  );
  supervisor.on('resumed', () => log.info('fewer sources fail: channels are opened again as before'));
  return {
    supervisor,
    pool: new ProcessPool({
      max: maxProcesses,
      spawnRate: new TokenBucket(SPAWN_RATE),
      admission: [minFreeFds(SPARE_DESCRIPTORS), minFreeMemory(SPARE_MEMORY)],
      // The supervisor alone decides when what failed is tried again; ffmpeg has a limit of its own, which tells more.
      acquire: { maxAttempts: 1, spawnTimeoutMs: Number.POSITIVE_INFINITY },
    }),
  };
}
