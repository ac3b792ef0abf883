import { accessSync, constants } from 'node:fs';
import { findFfmpeg } from '../hdhomerun/index.ts';
import type { Channels } from './channel/channels.ts';
import { mayPassThrough } from './pipeline/open-source.ts';

export interface ReadinessSettings {
  readonly channels: Channels;
  /** Where the locks are. */
  readonly lockDir: string | undefined;
  readonly stateDir: string;
}

/**
 * Why nobody who is sent here would be served: it stops, it knows no channel, nothing could be locked, or every channel
 * needs an ffmpeg that is not there. That a device or a source fails is no reason: the others are served, and an
 * orchestrator could not mend it by another start.
 */
export class Readiness {
  readonly #settings: ReadinessSettings;
  #isStopping = false;

  constructor(settings: ReadinessSettings) {
    this.#settings = settings;
  }

  /** In words; empty if it is ready. */
  reasons(): readonly string[] {
    if (this.#isStopping) return ['it stops'];
    const { channels, lockDir } = this.#settings;
    const locks = lockDir === undefined ? undefined : unusable('lock', lockDir);
    const known = channels.size === 0 ? 'no channel is known yet' : undefined;
    return [known, locks, this.#missingFfmpeg()].filter((reason) => reason !== undefined);
  }

  /** What would be missing after a restart, or for some channels; it is ready all the same. */
  warnings(): readonly string[] {
    const missing = missingFfmpeg();
    return [missing, unusable('state', this.#settings.stateDir)].filter((warning) => warning !== undefined);
  }

  stopping(): void {
    this.#isStopping = true;
  }

  #missingFfmpeg(): string | undefined {
    const needed = [...this.#settings.channels].every(({ entry }) =>
      entry.sources.every(({ url }) => !mayPassThrough(url)),
    );
    return needed ? missingFfmpeg() : undefined;
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

/** One that is not there is made when it is needed. */
function unusable(what: 'lock' | 'state', path: string): string | undefined {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT'
      ? undefined
      : `the ${what} directory ${path} can't be written (${code}); see --${what}-dir`;
  }
}
