import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LockHolder, redactCredentials, SourceBusyError, SourceLock } from 'holdfast';
import { StartError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { stateDir } from './state-directory.ts';

/**
 * The state directory, of this process alone: two publishers with one identity would be one device to players, and each
 * would write over what the other keeps. One that was named and can't be had is an error. The one that nobody named is
 * replaced by one for this run, and the log says why.
 */
export class StateClaim implements AsyncDisposable {
  readonly path: string;
  /** The publisher that had it before, if that died. */
  readonly predecessor: LockHolder | undefined;
  readonly #release: () => unknown;

  /** @throws StartError that names the holder if the directory that was named is another publisher's. */
  static async take(config: { readonly stateDir?: string | undefined }, log: Logger): Promise<StateClaim> {
    const path = stateDir(config);
    try {
      const lock = await lockOf(path);
      return new StateClaim(path, () => lock.release(), lock.reclaimedFrom);
    } catch (error) {
      const why = `the state directory ${path} ${complaintOf(error)}`;
      if (isNamed(config)) throw new StartError(`${why}; choose another with --state-dir`, { cause: error });
      log.warn(`${why}: nothing is kept over a restart, and the DeviceID is one for this run; see --state-dir`);
      return StateClaim.#temporary();
    }
  }

  private constructor(path: string, release: () => unknown, predecessor?: LockHolder) {
    this.path = path;
    this.predecessor = predecessor;
    this.#release = release;
  }

  static #temporary(): StateClaim {
    const path = mkdtempSync(join(tmpdir(), 'holdfast-publisher-'));
    return new StateClaim(path, () => rmSync(path, { recursive: true, force: true }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release();
  }
}

/** In the directory itself, so that it is the same lock by every path and whatever `--lock-dir` is. */
async function lockOf(path: string): Promise<SourceLock> {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return await SourceLock.acquire('holdfast-publisher:state', { dir: join(path, 'lock'), onWarning: () => {} });
}

function isNamed({ stateDir }: { readonly stateDir?: string | undefined }): boolean {
  return stateDir !== undefined || Boolean(process.env.STATE_DIRECTORY);
}

function complaintOf(error: unknown): string {
  if (!(error instanceof SourceBusyError)) return `can't be used (${redactCredentials((error as Error).message)})`;
  const { holder } = error;
  return holder
    ? `is used by pid ${holder.pid} since ${holder.startedAt}: ${holder.command}`
    : 'is used by another process';
}
