import { minFreeFds, minFreeMemory, ProcessPool, Supervisor, TokenBucket } from 'holdfast';
import { isFaultOfEncoder, isFaultOfSource } from './failure-kinds.ts';
import type { Logger } from './log.ts';
import { SPARE_DESCRIPTORS } from './pipeline/pass-through.ts';

/** What bounds all channels together: how many processes there are, and how often what fails is opened again. */
export interface Controls extends AsyncDisposable {
  /** Of sources. */
  readonly supervisor: Supervisor;
  /** Of what encodes them: that fails for other reasons, and must keep no channel from being opened. */
  readonly encoders: Supervisor;
  readonly pool: ProcessPool;
}

export interface ControlSettings {
  readonly maxProcesses: number;
  readonly restartCooldownMs: number;
}

const SPARE_MEMORY = { fraction: 0.05 };
/** All channels of a house may be wanted at once, but not again and again. */
const SPAWN_RATE = { capacity: 16, refillPerSecond: 4 };

export function createControls(settings: ControlSettings, log: Logger): Controls {
  const { maxProcesses, restartCooldownMs } = settings;
  const policy = { cooldownMs: restartCooldownMs };
  const supervisor = new Supervisor({ ...policy, breaker: { isFailure: isFaultOfSource } });
  const encoders = new Supervisor({ ...policy, breaker: { isFailure: isFaultOfEncoder } });
  sayStorms(supervisor, log, { fail: 'sources fail', opened: 'no channel is opened' });
  sayStorms(encoders, log, { fail: 'encoders fail', opened: 'no profile is encoded' });
  const pool = poolOf(maxProcesses);
  const close = async () => {
    await Promise.all([supervisor.close(), encoders.close()]);
    await pool.close();
  };
  return { supervisor, encoders, pool, [Symbol.asyncDispose]: close };
}

function poolOf(max: number): ProcessPool {
  return new ProcessPool({
    max,
    spawnRate: new TokenBucket(SPAWN_RATE),
    admission: [minFreeFds(SPARE_DESCRIPTORS), minFreeMemory(SPARE_MEMORY)],
    // The supervisor alone decides when what failed is tried again; ffmpeg has a limit of its own, which tells more.
    acquire: { maxAttempts: 1, spawnTimeoutMs: Number.POSITIVE_INFINITY },
  });
}

function sayStorms(
  supervisor: Supervisor,
  log: Logger,
  said: { readonly fail: string; readonly opened: string },
): void {
  supervisor.on('storm', (retryAfterMs) =>
    log.warn(`too many ${said.fail}: ${said.opened} again for ${Math.ceil(retryAfterMs / 1_000)} s`),
  );
  supervisor.on('resumed', () => log.info(`fewer ${said.fail}: what failed is tried again as before`));
}
