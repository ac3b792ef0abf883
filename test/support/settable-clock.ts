import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { debianProgram } from './debian.ts';

const LIBRARIES: Readonly<Record<string, string>> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

/** A wall clock that can be set while the processes run that go by it. */
export interface SettableClock {
  /** For the processes that shall go by it. */
  readonly env: NodeJS.ProcessEnv;
  /** Sets it so many seconds off the true time. */
  set(seconds: number): void;
}

/** @param file says what time it is; undefined where libfaketime can't be had */
export async function settableClock(file: string): Promise<SettableClock | undefined> {
  const faketime = await debianProgram('faketime', ['faketime', 'libfaketime']);
  if (!faketime) return undefined;
  const libraries = join(dirname(faketime.path), '../lib', LIBRARIES[process.arch] ?? process.arch);
  const set = (seconds: number) => writeFileSync(file, `${seconds < 0 ? '' : '+'}${seconds}\n`);
  set(0);
  return {
    set,
    env: {
      LD_PRELOAD: join(libraries, 'faketime/libfaketime.so.1'),
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
  };
}

/** What a process that goes by such a clock shares with its children; it stays when that process is killed. */
export function sharedByClockOf(pid: number): string[] {
  return [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`].map((name) => join('/dev/shm', name));
}

export function removeSharedByClockOf(pid: number): void {
  for (const path of sharedByClockOf(pid)) rmSync(path, { force: true });
}
