import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { LockUnsupportedError } from '../errors.ts';
import { onAbort } from '../internal/abort.ts';
import { now, sleep } from '../internal/time.ts';
import type { Patience } from './backend.ts';
import type { KernelLock } from './kernel-lock.ts';

/** How long one `flock` waits: should this process be killed, what waits for it is gone after that. */
const SLICE_MS = 1_000;
/** Pause between tries where `flock` can't wait with a time-out (busybox). */
const RETRY_MS = 250;

/**
 * flock(2), which shell scripts honour too, by the program flock(1) of util-linux or busybox on our descriptor: the lock
 * belongs to the open file description that it inherits, so it stays when the program ends.
 */
export const flock: KernelLock = {
  name: 'flock',

  async lock(descriptor, patience) {
    if (await succeeds(['-x', '-n', '3'], descriptor)) return true;
    return patience ? lockInTurn(descriptor, patience) : false;
  },

  async unlock(descriptor) {
    await succeeds(['-u', '3'], descriptor);
  },
};

/** The kernel wakes those that wait: nothing is polled where `flock` knows a time-out. */
async function lockInTurn(descriptor: number, { deadline, signal }: Patience): Promise<boolean> {
  if (now() >= deadline) return false;
  const canWait = await knowsTimeout();
  while (now() < deadline) {
    const leftMs = Math.max(deadline - now(), 1);
    const seconds = String(Math.min(SLICE_MS, leftMs) / 1000);
    if (!canWait) await sleep(Math.min(RETRY_MS * (0.8 + 0.4 * Math.random()), leftMs), signal);
    if (await succeeds(['-x', ...(canWait ? ['-w', seconds] : ['-n']), '3'], descriptor, signal)) return true;
  }
  return false;
}

let knowing: Promise<boolean> | undefined;

function knowsTimeout(): Promise<boolean> {
  knowing ??= run(['--help']).then(
    ({ output }) => output.includes('--timeout'),
    (error) => {
      knowing = undefined;
      throw error;
    },
  );
  return knowing;
}

/** False if another has the lock. */
async function succeeds(args: readonly string[], descriptor: number, signal?: AbortSignal): Promise<boolean> {
  const { code, output } = await run(args, descriptor, signal);
  if (code === 0) return true;
  // Both exit with 1 if the file is locked, but busybox with any error too, of which it then tells.
  if (code === 1 && output === '') return false;
  throw unsupported(`flock ended with ${code}: ${output.trim() || 'it said nothing'}`);
}

interface Outcome {
  readonly code: number | NodeJS.Signals;
  readonly output: string;
}

async function run(args: readonly string[], descriptor?: number, signal?: AbortSignal): Promise<Outcome> {
  signal?.throwIfAborted();
  const stdio = ['ignore', 'pipe', 'pipe', ...(descriptor === undefined ? [] : [descriptor])] as const;
  // Of a group of its own: a Ctrl-C at the terminal is for this process to deal with.
  const program = spawn('flock', args, { stdio: [...stdio], detached: true });
  const listening = onAbort(signal, () => program.kill('SIGKILL'));
  const output: Buffer[] = [];
  for (const stream of [program.stdout, program.stderr]) stream?.on('data', (chunk) => output.push(chunk));
  try {
    const [code, ending] = await once(program, 'close');
    signal?.throwIfAborted();
    return { code: code ?? ending, output: String(Buffer.concat(output)) };
  } catch (cause) {
    signal?.throwIfAborted();
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EACCES') throw cause; // of the moment: too many processes or files
    throw unsupported(`flock did not start (${code})`, cause);
  } finally {
    listening[Symbol.dispose]();
  }
}

function unsupported(why: string, cause?: unknown): LockUnsupportedError {
  return new LockUnsupportedError(`flock(2) locks can not be used here: ${why}; install util-linux or busybox`, cause);
}
