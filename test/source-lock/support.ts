import { SourceLock, type SourceLockOptions } from 'holdfast';
import { beforeEach } from 'vitest';
import { type Fixture, startFixture } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';

export const tuner = 'http://192.168.1.20:5004/auto/v5.1';
export const device = 'hdhomerun:1234ABC2/v5.1';

/** What promises exclusion on one host; the tests of the promise run over each. */
export const backends = ['kernel', 'flock'] as const;

type Location = { readonly dir: string; readonly backend: (typeof backends)[number] };

/** What the fixture `holder` does. */
interface HolderRequest {
  readonly source?: string | readonly string[];
  readonly options?: SourceLockOptions;
  /** A shell program that holds the lock too. */
  readonly child?: string;
}

interface LockSetting {
  at(): Location;
  dir(): string;
  /** Another process that takes the lock. */
  holder(request?: HolderRequest): Fixture;
  /** The error of an attempt that should be refused. */
  // biome-ignore lint/suspicious/noExplicitAny: each test expects another
  busy(source?: string | string[]): Promise<any>;
}

/** A lock directory of its own for each test, and who takes locks in it. */
export function lockSetting(backend: (typeof backends)[number]): LockSetting {
  let directory = '';
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  const at = () => ({ dir: directory, backend });
  return {
    at,
    dir: () => directory,
    holder: (request = {}) =>
      startFixture('holder', [{ source: tuner, ...request, options: { ...at(), ...request.options } }]),
    busy: (source = tuner) => SourceLock.acquire(source, at()).catch((error) => error),
  };
}
