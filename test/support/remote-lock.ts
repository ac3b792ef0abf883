import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { LockHolder, SourceLockOptions } from 'holdfast';
import { childrenOf, fixtureArguments } from './processes.ts';
import { removeSharedByClockOf } from './settable-clock.ts';

/** What an attempt led to. */
export interface Attempt {
  readonly acquired?: true;
  readonly path: string;
  readonly fence: string;
  readonly reclaimedFrom?: LockHolder;
  /** Of the error: its class, and whether that is one of holdfast's. */
  readonly name?: string;
  readonly isTyped?: boolean;
  readonly message?: string;
  readonly holder?: LockHolder;
}

interface Request {
  readonly source: string;
  readonly options: SourceLockOptions;
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups?: readonly number[] } | undefined;
}

/** The means by which it runs: a program that starts it, and its environment. */
interface Means {
  readonly wrapper?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

type Order = SourceLockOptions & { readonly of?: string; readonly abortAfterMs?: number };

/** Another process (test/fixtures/lock-remote.ts) that does with a lock what it is told. */
export class RemoteLock implements AsyncDisposable {
  /** As it knows itself; in a pid namespace of its own that is not {@link outerPid}. */
  readonly pid: number;
  readonly outerPid: number;
  readonly #process: ChildProcess;
  readonly #exit: Promise<unknown>;
  readonly #next: () => Promise<unknown>;

  static async start(request: Request, { wrapper = [], env = {} }: Means = {}): Promise<RemoteLock> {
    const [command, ...args] = [...wrapper, process.execPath, ...fixtureArguments('lock-remote', [request])];
    const started = spawn(command as string, args, { env: { ...process.env, ...env }, stdio: 'pipe' });
    let complaints = '';
    started.stderr.on('data', (chunk) => {
      complaints += chunk;
    });
    const lines = createInterface(started.stdout as Readable)[Symbol.asyncIterator]();
    const next = async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the process that was told what to do ended: ${complaints}`);
      return JSON.parse(value);
    };
    return new RemoteLock(started, next, (await next()).pid);
  }

  private constructor(started: ChildProcess, next: () => Promise<unknown>, pid: number) {
    this.#process = started;
    this.#exit = once(started, 'exit');
    this.#next = next;
    this.pid = pid;
    const spawned = started.pid as number;
    this.outerPid = childrenOf(spawned)[0]?.pid ?? spawned;
  }

  /** @param order options that differ, `of` another source */
  acquire(order: Order = {}): Promise<Attempt> {
    return this.tell('acquire', order) as Promise<Attempt>;
  }

  inspect(): Promise<LockHolder | 'nobody'> {
    return this.tell('inspect') as Promise<LockHolder | 'nobody'>;
  }

  /** Runs a shell script in its surroundings. */
  shell(script: string): Promise<unknown> {
    return this.tell('shell', { script });
  }

  tell(deed: string, order: object = {}): Promise<unknown> {
    this.#process.stdin?.write(`${JSON.stringify({ do: deed, ...order })}\n`);
    return this.#next();
  }

  /** Stops it; {@link kill} works all the same. */
  stop(): void {
    process.kill(this.outerPid, 'SIGSTOP');
  }

  async kill(): Promise<void> {
    try {
      if (this.#process.exitCode === null && this.#process.signalCode === null) process.kill(this.outerPid, 'SIGKILL');
    } catch {
      // it has just ended, with the namespace that it was in
    }
    await this.#exit;
    removeSharedByClockOf(this.outerPid);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
