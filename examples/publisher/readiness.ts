import { accessSync, constants } from 'node:fs';
import { findFfmpeg } from '../hdhomerun/index.ts';
import type { Channels } from './channel/channels.ts';
import { checkLockDirectory } from './lock-directory.ts';

/** How old what is known of the lock directory may be. */
const LOCKS_EVERY_MS = 10_000;

export interface ReadinessSettings {
  readonly channels: Channels;
  readonly lockDir: string | undefined;
  readonly stateDir: string;
}

/**
 * Why nobody who is sent here would be served: it stops, it knows no channel, nothing could be locked, or every channel
 * needs an ffmpeg that is not there. That a device or a source fails is no reason: the others are served, and an
 * orchestrator could not mend it by another start.
 */
export class Readiness implements Disposable {
  readonly #settings: ReadinessSettings;
  readonly #timer: NodeJS.Timeout;
  #locks: string | undefined;
  #isStopping = false;

  constructor(settings: ReadinessSettings) {
    this.#settings = settings;
    this.#timer = setInterval(() => void this.#checkLocks(), LOCKS_EVERY_MS).unref();
  }

  /** In words; empty if it is ready. */
  reasons(): readonly string[] {
    if (this.#isStopping) return ['it stops'];
    const { channels } = this.#settings;
    const known = channels.size === 0 ? 'no channel is known yet' : undefined;
    return [known, this.#locks, this.#missingFfmpeg()].filter((reason) => reason !== undefined);
  }

  /** What would be missing after a restart, or for some channels; it is ready all the same. */
  warnings(): readonly string[] {
    const missing = missingFfmpeg();
    return [missing, unwritable(this.#settings.stateDir)].filter((warning) => warning !== undefined);
  }

  stopping(): void {
    this.#isStopping = true;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #missingFfmpeg(): string | undefined {
    const needed = [...this.#settings.channels].every(({ entry }) =>
      entry.sources.every(({ url }) => !/^https?:/.test(url)),
    );
    return needed ? missingFfmpeg() : undefined;
  }

  async #checkLocks(): Promise<void> {
    const { lockDir } = this.#settings;
    const checked = checkLockDirectory(lockDir, () => {});
    this.#locks = await checked.then(() => undefined).catch((error: Error) => error.message);
  }
}

/** What to do about it, if there is no ffmpeg. */
export function missingFfmpeg(): string | undefined {
  try {
    findFfmpeg();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function unwritable(path: string): string | undefined {
  try {
    accessSync(path, constants.W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? undefined : `the state directory ${path} can't be written (${code}); see --state-dir`;
  }
}
