import { dirname, join } from 'node:path';
import { HoldfastError, type LockHolder } from '../errors.ts';
import { directoryError, lockDirectory, prepareDirectory } from './directory.ts';
import type { KernelLock } from './kernel-lock.ts';
import { lockFileName, sourceIdentities } from './key.ts';
import { inspectFile, LockFile, type LockPlace } from './lock-file.ts';
import { type LockWarning, warn } from './options.ts';

/** A source to be locked, by one of its identities or all of them. */
export type Source = string | URL | readonly (string | URL)[];

/** What has to be locked for a source. */
export interface Wanted {
  /** The key of the source that was given first. */
  readonly first: string;
  readonly keys: readonly string[];
  /** In sorted order: who takes several takes them in the same order as everybody else. */
  readonly places: readonly LockPlace[];
}

export function placesOf(source: Source, dir: string | undefined, warning: (warning: LockWarning) => void): Wanted {
  const sources = [source].flat() as readonly (string | URL)[];
  if (sources.length === 0) throw new TypeError('a list of sources must not be empty');
  const identities = sources.map(sourceIdentities);
  const directory = lockDirectory(dir, 'acquire');
  prepareDirectory(directory);
  if (directory.perUser) warn(warning, { code: 'PER_USER_DIRECTORY', path: directory.path });
  const sorted = (keys: readonly string[]) => [...new Set(keys)].sort();
  return {
    first: (identities[0] as readonly string[])[0] as string,
    keys: sorted(identities.map(([key]) => key)),
    places: sorted(identities.flat()).map((key) => ({ key, path: join(directory.path, lockFileName(key)) })),
  };
}

type Taken =
  | { readonly files: readonly LockFile[] }
  | { readonly files?: undefined; readonly refused: { key: string; holder: LockHolder | undefined } };

/** All or none; the tenures begin when all are locked. */
export function takeAll(kernel: KernelLock, places: readonly LockPlace[], command: string | undefined): Taken {
  const files: LockFile[] = [];
  try {
    for (const place of places) {
      const file = LockFile.take(kernel, place);
      if (!file) {
        freeAll(files);
        return { refused: { key: place.key, holder: inspectFile(place) } };
      }
      files.push(file);
    }
    for (const file of files) file.begin(command);
  } catch (error) {
    freeAll(files);
    throw systemError(error, places);
  }
  return { files };
}

/** What the system says of a file, said in terms of the directory. */
function systemError(error: unknown, places: readonly LockPlace[]): unknown {
  if (error instanceof HoldfastError || !(error as NodeJS.ErrnoException).syscall) return error;
  return directoryError(dirname((places[0] as LockPlace).path), error);
}

function freeAll(files: LockFile[]): void {
  for (const file of files.toReversed()) file.free();
}
