import type { ChildProcess } from 'node:child_process';
import { basename } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { type ChildExit, ChildExitError, ReadyTimeoutError, TreeSurvivedError } from '../errors.ts';
import { onAbort } from '../internal/abort.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import type { Hold } from '../internal/hold.ts';
import { checkKnown, checkNumber, show } from '../internal/options.ts';
import { after, now, wallClock } from '../internal/time.ts';
import { guard } from './guard.ts';
import { firstDeadline } from './lease.ts';
import { checkTermSignal, type ManagedChildOptions, type Settings, settle, type TerminateOptions } from './options.ts';
import { type Orphan, sweep } from './orphans.ts';
import { drain, endWhenSilent } from './pipes.ts';
import type { ProcessTree } from './process-tree.ts';
import { type Readiness, untilReady } from './readiness.ts';
import { watchForSilence } from './silence.ts';
import { type Started, start } from './start.ts';
import { StderrTail } from './stderr-tail.ts';

const publish = diagnosticsOf('managed-child');

/** How long before the end of its lease a tree may be killed: by a guard that has not read of the last renewal. */
const LEASE_TOLERANCE_MS = 50;

/**
 * A child process whose whole tree ends with it, with its owner, or when told to.
 *
 * The child leads a process group of its own. When it is terminated, and when it ends by itself, everything it started
 * is ended: `termSignal`, `graceMs`, SIGKILL; what left the group (`setsid`, a daemon) is found by a variable in its
 * environment, and by a cgroup where one can be had. When this Node process ends, however it ends (`kill -9`, a crash, a
 * blocked event loop, the end of a worker thread), a guard process does the same. No signal handler is installed in
 * this process. What happens is published on the diagnostics channels `holdfast:managed-child:created`, `ending`, `exited` and
 * `closed`.
 *
 * Most callers want {@link ManagedChild.spawn} with a `signal`, and `await using` or `terminate()` at the end.
 *
 * What it can not promise: without a cgroup, a process that leaves its group *and* clears its environment is not found; a
 * process of another user can not be signalled and is reported by {@link TreeSurvivedError}; if the guard and this
 * process are killed in the same instant, the child lives until the next {@link ManagedChild.sweepOrphans}. Where there is
 * no `/proc` only the group is ended. A user other than root is not shown the environment of a program that hides it
 * (`ssh-agent`). The end by a real-time signal looks like exit code 0, as Node tells it.
 *
 * @example
 * const child = await ManagedChild.spawn('ffmpeg', ['-i', url, '-f', 'mpegts', 'pipe:1'], { signal, graceMs: 100 });
 * child.stdout?.pipe(destination);
 * const { code, reason, stderrTail } = await child.closed;
 */
export class ManagedChild implements AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  readonly startedAt: Date = wallClock();
  readonly stdin: Writable | null;
  /**
   * Read it at once: Node discards at the child's end what nobody has begun to read. While it is paused what the child
   * writes stays in the kernel, nothing of it in this process, unless `stdin` is a pipe or `ready` is given.
   */
  readonly stdout: Readable | null;
  /** Always read, for {@link stderrTail}; listen to 'data' to see it too, but don't pause it. */
  readonly stderr: Readable | null;
  /** The leader has ended; the rest of its tree may still be ending. Never rejects. */
  readonly exited: Promise<ChildExit>;
  /** Nothing of the tree is left, and that was checked. Never rejects; pending while something can't be ended. */
  readonly closed: Promise<ChildExit>;

  readonly #process: ChildProcess;
  readonly #settings: Settings;
  readonly #tree: ProcessTree;
  readonly #holds: readonly Hold[];
  readonly #startedMs = now();
  readonly #tail: StderrTail;
  readonly #listening: Disposable[] = [];
  /** The first cause of the end; set when it begins, be it by the leader's own exit. */
  #reason: ChildExit['reason'] | undefined;
  /** Only while it is `ending` the tree gets signals: before nobody wants it, after its numbers may be a stranger's. */
  #phase: 'running' | 'ending' | 'gone' = 'running';
  readonly #over = Promise.withResolvers<void>();
  /** When the first of its leases ends. */
  #deadlineMs = Number.POSITIVE_INFINITY;

  /**
   * Starts `command` with `args`, without a shell. Resolves once it runs, and is ready if `ready` is given.
   *
   * Cancel-safe: if it rejects, nothing was started or nothing of it is left, unless with TreeSurvivedError.
   *
   * @throws SpawnError if it can't be started; `cause` is the system's error.
   * @throws ReadyTimeoutError if it was not ready in time.
   * @throws ChildExitError if it ended before it was ready.
   * @throws LeaseExpiredError if a lease had ended before.
   * @throws ContainmentError if `containment` is 'cgroup' and none can be made.
   * @throws TreeSurvivedError if it was not ready, and could not be ended in `graceMs` + 5 s.
   * @throws the reason of `signal`, of a lock's or of the lease's, if that aborted before; what `ready.when` threw.
   * @throws RangeError, TypeError for an option out of range, naming it.
   */
  static async spawn(
    command: string,
    args: readonly string[] = [],
    options: ManagedChildOptions = {},
  ): Promise<ManagedChild> {
    const settings = settle(command, args, options);
    const child = new ManagedChild(settings, await guard.inTurn((pipe) => start(settings, pipe)));
    await child.#listen();
    if (settings.ready) await child.#becomeReady(settings.ready);
    child.#watchForStall();
    return child;
  }

  /**
   * Lists what dead owners left on this host: what runs though their guard was killed too, and for the time of its grace
   * what their guard is at. With `kill` it is ended by SIGKILL, and this resolves when it is gone, or after 5 s. Only what
   * was started by `ManagedChild` is listed, in this pid namespace, and only what this user may see.
   *
   * It may be what any program on this host has left. A program that ends only what its own run before left gives `kill`
   * a function: it is asked once for each orphan, also for what those start meanwhile, and the rest is listed and lives on.
   *
   * @example
   * await ManagedChild.sweepOrphans({ kill: ({ ownerPid }) => ownerPid === lock.reclaimedFrom?.pid });
   *
   * @throws TypeError for an option that there isn't, or a `kill` that is neither a boolean nor a function.
   * @throws the system's error if it can't look, for want of descriptors or memory (EMFILE, ENFILE, ENOMEM).
   * @throws what `kill` throws; what was ended by then is.
   */
  static async sweepOrphans(
    options: { readonly kill?: boolean | ((orphan: Orphan) => boolean) | undefined } = {},
  ): Promise<Orphan[]> {
    checkKnown('ManagedChild.sweepOrphans', options, ['kill']);
    const { kill = false } = options;
    if (typeof kill === 'function') return sweep(kill);
    if (typeof kill !== 'boolean') throw new TypeError(`kill must be a boolean or a function, received ${show(kill)}`);
    return sweep(() => kill);
  }

  private constructor(settings: Settings, { process, tree, holds }: Started) {
    this.#process = process;
    this.#settings = settings;
    this.#tree = tree;
    this.#holds = holds;
    this.pid = tree.leader.pid;
    this.name = settings.name ?? basename(settings.command);
    this.stdin = process.stdin;
    this.stdout = process.stdout;
    this.stderr = process.stderr;
    this.#tail = new StderrTail(this.stderr);
    this.exited = this.#leaderExit();
    this.closed = this.#treeEnd();
    publish('created', { child: this });
  }

  /** The last 16 KiB it wrote to stderr, credentials in URLs removed. */
  stderrTail(): string {
    return this.#tail.toString();
  }

  /**
   * Ends the tree: `termSignal` to all of it, after `graceMs` SIGKILL. Idempotent, and the first cause is the one that
   * is reported. Resolves as {@link closed} does.
   *
   * @param reason why, for the diagnostics channel `holdfast:managed-child:ending`.
   * @param options `timeoutMs`: how long to wait, from 0; above 2^31 - 1 without end. By default `graceMs` + 5 s.
   * `termSignal`: the request, instead of the one of the spawn options.
   * @throws TreeSurvivedError past it; the tree stays watched and `closed` pending.
   * @throws RangeError, TypeError for an option out of range, naming it.
   */
  async terminate(reason?: unknown, options: TerminateOptions = {}): Promise<ChildExit> {
    checkKnown('terminate', options, ['timeoutMs', 'termSignal']);
    const timeoutMs = checkNumber('timeoutMs', options.timeoutMs ?? this.#endLimitMs);
    const termSignal = checkTermSignal(options.termSignal ?? this.#settings.termSignal);
    this.#end('terminated', reason, termSignal);
    return this.#closedWithin(timeoutMs);
  }

  /** The opposite of {@link unref}. */
  ref(): this {
    this.#eachHandle((handle) => handle.ref?.());
    return this;
  }

  /** Lets this process end while the child runs; the child ends with it. */
  unref(): this {
    this.#eachHandle((handle) => handle.unref?.());
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminate('disposed');
  }

  /** What it holds may be anybody's code: should that throw, nothing is left. */
  async #listen(): Promise<void> {
    const { signal, holds, lease } = this.#settings;
    try {
      this.#listening.push(onAbort(signal, (reason) => this.#end('aborted', reason)));
      this.#listening.push(onAbort(lease?.signal, (reason) => this.#end('lease-expired', reason)));
      this.#watchLeases();
      for (const held of holds) {
        this.#listening.push(onAbort(held.signal, (reason) => this.#end('lock-lost', reason)));
      }
      const running = { ...this.#tree.leader, terminate: (reason?: unknown) => this.terminate(reason) };
      for (const hold of this.#holds) hold.started(running);
    } catch (error) {
      this.#end('terminated', error);
      await this.#closedWithin(this.#endLimitMs);
      throw error;
    }
  }

  /** By the guard's keeper, which works also when this event loop doesn't, and by this process, should there be none just then. */
  #watchLeases(): void {
    const { leases } = this.#settings;
    let timer: Disposable | undefined;
    const arm = () => {
      timer?.[Symbol.dispose]();
      this.#deadlineMs = firstDeadline(leases);
      timer = after(this.#deadlineMs - now(), () => this.#expire(), { idle: true });
    };
    const renew = () => {
      // Too late: it may be dead already, though this process has not seen it.
      if (this.#deadlineMs <= now()) return this.#expire();
      arm();
      guard.lease(this.pid, this.#deadlineMs);
    };
    this.#listening.push(...leases.map((lease) => lease.onRenew(renew)));
    this.#listening.push({ [Symbol.dispose]: () => timer?.[Symbol.dispose]() });
    arm();
  }

  /** Who gets the source next may open it now, so there is no grace, nor any left if it was ending. */
  #expire(): void {
    this.#end('lease-expired', 'its deadline has come');
    if (this.#phase === 'ending') this.#tree.kill();
  }

  /** Until it is ready, its own time-out is what bounds the silence. */
  #watchForStall(): void {
    const { stallTimeoutMs } = this.#settings;
    if (!this.stdout || stallTimeoutMs === undefined || this.#phase === 'gone') return;
    this.#listening.push(watchForSilence(this.stdout, stallTimeoutMs, () => this.#end('stalled')));
  }

  async #becomeReady({ when, timeoutMs }: Readiness): Promise<void> {
    const waiting = new AbortController();
    const deadline = after(timeoutMs, () => this.#end('not-ready'));
    try {
      await Promise.race([untilReady(this, when, waiting.signal), this.#over.promise]);
    } catch (error) {
      this.#end('not-ready', error);
      await this.#closedWithin(this.#endLimitMs);
      throw error;
    } finally {
      waiting.abort();
      deadline[Symbol.dispose]();
    }
    // It may have been told to end in the very turn in which it became ready.
    if (this.#reason !== undefined) this.#throwUnready(await this.#closedWithin(this.#endLimitMs), timeoutMs);
  }

  #throwUnready(exit: ChildExit, timeoutMs: number): never {
    const { signal, holds, lease } = this.#settings;
    if (exit.reason === 'aborted') throw signal?.reason;
    if (exit.reason === 'lock-lost') throw holds.find((held) => held.signal.aborted)?.signal.reason;
    if (exit.reason === 'lease-expired') lease?.signal.throwIfAborted();
    if (exit.reason === 'not-ready') throw new ReadyTimeoutError(this.name, timeoutMs, exit);
    throw new ChildExitError(this.name, exit);
  }

  get #endLimitMs(): number {
    return this.#settings.graceMs + 5_000;
  }

  /** Begins the end of the tree; only the first call counts. */
  #end(cause: ChildExit['reason'], detail?: unknown, termSignal = this.#settings.termSignal): void {
    if (this.#phase !== 'running') return;
    this.#phase = 'ending';
    this.#isOver(cause);
    const { graceMs } = this.#settings;
    publish('ending', { child: this, reason: this.#reason, detail });
    if (graceMs === 0) this.#tree.kill();
    else {
      this.#tree.ask(termSignal);
      this.#listening.push(after(graceMs, () => this.#tree.kill()));
    }
  }

  #isOver(cause: ChildExit['reason']): void {
    this.#reason ??= cause;
    this.#over.resolve();
  }

  async #leaderExit(): Promise<ChildExit> {
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      this.#process.once('exit', (...status) => resolve(status));
    });
    // By the keeper, while this process was kept from seeing it itself.
    const isExpired = signal === 'SIGKILL' && this.#deadlineMs - LEASE_TOLERANCE_MS <= now();
    this.#isOver(isExpired ? 'lease-expired' : 'exited');
    const durationMs = now() - this.#startedMs;
    const reason = this.#reason ?? 'exited';
    const exit = { code, signal, durationMs, escapees: 0, stderrTail: this.stderrTail(), reason };
    publish('exited', { child: this, exit });
    return exit;
  }

  async #treeEnd(): Promise<ChildExit> {
    const exit = await this.exited;
    await this.#tree.gone(() => this.#end(exit.reason, 'the leader ended'));
    this.#phase = 'gone';
    guard.forget(this.pid);
    for (const listening of this.#listening) listening[Symbol.dispose]();
    await drain(this.stderr);
    endWhenSilent(this.stdout);
    for (const hold of this.#holds) endHold(hold);
    const closed = { ...exit, escapees: this.#tree.escapees, stderrTail: this.stderrTail() };
    publish('closed', { child: this, exit: closed });
    return closed;
  }

  async #closedWithin(timeoutMs: number): Promise<ChildExit> {
    const { promise: late, resolve: onLate } = Promise.withResolvers<undefined>();
    const deadline = after(timeoutMs, () => onLate(undefined));
    const exit = await Promise.race([this.closed, late]);
    deadline[Symbol.dispose]();
    if (exit) return exit;
    const { graceMs } = this.#settings;
    const why = timeoutMs < graceMs ? `its grace is ${graceMs} ms` : undefined;
    throw new TreeSurvivedError(this.name, this.#tree.members(), timeoutMs, why);
  }

  #eachHandle(apply: (handle: { ref?(): void; unref?(): void }) => void): void {
    for (const handle of [this.#process, this.stdin, this.stdout, this.stderr]) {
      if (handle) apply(handle as { ref?(): void; unref?(): void });
    }
  }
}

/** The failure of another's code must not keep `closed` from resolving. */
function endHold(hold: Hold): void {
  try {
    hold.end();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : new Error(`the end of a hold failed: ${String(error)}`));
  }
}
