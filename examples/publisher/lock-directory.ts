import { dirname } from 'node:path';
import { LockDirectoryError, type LockWarning, SourceLock } from 'holdfast';
import { StartError } from './errors.ts';

/**
 * A directory that can't be written is said at the start and not to the first viewer. Resolves with where the locks are,
 * undefined where that can't be told.
 *
 * @throws StartError that says why, and what to do.
 */
export async function checkLockDirectory(
  dir: string | undefined,
  warn: (text: string) => void,
): Promise<string | undefined> {
  const onWarning = (warning: LockWarning) => {
    if (warning.code !== 'PER_USER_DIRECTORY') return;
    warn(`locks are in ${warning.path} and exclude only processes of this user; see --lock-dir`);
  };
  try {
    const tried = await SourceLock.tryAcquire('holdfast-publisher:start', { dir, onWarning });
    if (!tried.acquired) return tried.holder && dirname(tried.holder.path);
    await tried.lock.release();
    return dirname(tried.lock.path);
  } catch (error) {
    throw error instanceof LockDirectoryError ? lockDirectoryComplaint(error) : error;
  }
}

/** What the library advises, behind the last semicolon, is for programmers; here there is a flag. */
function lockDirectoryComplaint(error: LockDirectoryError): StartError {
  const reason = error.message.replace(/; [^;]*$/, '');
  return new StartError(`${reason}; give this user write access, or choose another with --lock-dir`, { cause: error });
}
