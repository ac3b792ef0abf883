import { HoldfastError, LockDirectoryError } from '../errors.ts';

/** An error of the system, said in terms of the directory. */
export function directoryError(path: string, cause: unknown): LockDirectoryError {
  const {
    code = String(cause),
    path: source,
    dest: file = source,
  } = cause as NodeJS.ErrnoException & { dest?: string };
  const [why, advice] = REASONS[code] ?? [code, 'remove what hinders it'];
  const which = file === undefined || file === path ? '' : ` for ${file}`;
  const message = `the lock directory ${path} can't be used${which}: ${why} (${code}); ${advice}, or choose another`;
  return new LockDirectoryError(path, `${message} by dir (--dir, HOLDFAST_LOCK_DIR) or path (--lock-file)`, cause);
}

/** What the system says of a file of a lock directory, said in terms of that; other errors are left as they are. */
export function inDirectory(path: string, error: unknown): unknown {
  const isOfSystem = !(error instanceof HoldfastError) && (error as NodeJS.ErrnoException).syscall !== undefined;
  return isOfSystem ? directoryError(path, error) : error;
}

const NO_ACCESS = ['it may not be written by this user', 'give this user write access'] as const;
const FULL = ['its disk is full', 'make room'] as const;
const REASONS: Record<string, readonly [why: string, advice: string]> = {
  EACCES: NO_ACCESS,
  EPERM: NO_ACCESS,
  EROFS: NO_ACCESS,
  EMFILE: ['this process has too many open files', 'see ulimit -n'],
  ENFILE: ['the system has too many open files', 'close some'],
  EAGAIN: ['the limit of processes is reached', 'see ulimit -u'],
  ENOSPC: FULL,
  EDQUOT: FULL,
  ENOENT: ['it does not exist', 'make it'],
  ELOOP: ['that is a symbolic link, which is never followed', 'remove the link'],
  EEXIST: ['a file is in its place', 'move it away'],
  EISDIR: ['that is a directory', 'move it away'],
  ENOTDIR: ['that is no directory', 'correct the path'],
};
