import { LockUnsupportedError } from '../errors.ts';
import { show } from '../internal/options.ts';
import type { LockBackend } from './backend.ts';
import { formatOf, lockDirectory } from './directory.ts';
import { FileBackend } from './file-backend.ts';
import { flock } from './flock.ts';
import { holdersOf } from './holder.ts';
import { openFileLock } from './open-file-lock.ts';
import type { LockLocation } from './options.ts';

const flockBackend = new FileBackend(flock);
/** Of kernel locks, where the addon need not be there. */
const onlyLooking: Pick<LockBackend, 'inspect'> = { inspect: async (places) => holdersOf(places, 'kernel') };

/** The backend of the option of that name; what can't be loaded is loaded only if it is wanted. */
export async function chooseBackend({ backend = 'auto', path }: LockLocation): Promise<LockBackend> {
  if (typeof backend === 'object' && typeof backend?.take === 'function') return backend;
  if (backend === 'lease') return (await import('./lease/lease-backend.ts')).leaseBackend();
  if (backend === 'flock' || (backend === 'auto' && path !== undefined)) return flockBackend;
  if (backend === 'kernel' && path !== undefined) {
    throw new TypeError(
      "a lock at a path is locked by flock(2); backend must be 'auto' or 'flock', received \"kernel\"",
    );
  }
  if (backend === 'kernel') return kernel();
  if (backend === 'auto') return kernel().catch(flockInstead);
  const allowed = "'auto', 'kernel', 'flock', 'lease' or a LockBackend";
  throw new TypeError(`backend must be ${allowed}, received ${show(backend)}`);
}

/** To look needs no addon: what a directory is pinned to tells how. */
export async function backendInUse({
  backend = 'auto',
  dir,
  path,
}: LockLocation): Promise<Pick<LockBackend, 'inspect'>> {
  if (backend !== 'auto' && backend !== 'kernel') return chooseBackend({ backend });
  const format = path === undefined ? formatOf(lockDirectory(dir, 'look').path) : 'flock';
  return format === 'lease' || format === 'flock' ? chooseBackend({ backend: format }) : onlyLooking;
}

async function kernel(): Promise<LockBackend> {
  return new FileBackend(await openFileLock());
}

function flockInstead(error: unknown): LockBackend {
  if (error instanceof LockUnsupportedError) return flockBackend;
  throw error;
}
