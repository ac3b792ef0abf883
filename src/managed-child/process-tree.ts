import { hasProc, isAlive, type ProcessIdentity, processStat, read, send } from '../internal/proc.ts';
import { sleep } from '../internal/time.ts';
import type { Cgroup } from './cgroup.ts';
import { hasParentsOnly, signalDescendants } from './parents.ts';
import type { ProcessGroup } from './process-group.ts';
import { sweeper } from './sweeper.ts';

/** What a tree is known by. */
interface TreeParts {
  readonly group: ProcessGroup;
  /** Which child of this process it is; its tag tells it. */
  readonly sequence: number;
  /** How many processes had been started on this host before it. */
  readonly forks: number | undefined;
  readonly cgroup: Cgroup | undefined;
}

/**
 * A child and all that it started, by three nets: its process group, its tag, and its cgroup where there is one. Who leaves
 * the group (`setsid`, a daemon) is an escapee: found by one of the other two, and signalled alone.
 */
export class ProcessTree {
  readonly leader: ProcessIdentity;
  readonly #group: ProcessGroup;
  readonly #sequence: number;
  readonly #cgroup: Cgroup | undefined;
  readonly #forks: number | undefined;
  #hasLeaderEnded = false;
  /** What an escapee gets; nothing while nobody wants the tree to end. */
  #signal: NodeJS.Signals | undefined;
  /** Those that were told to end, by pid and start time, with the signal they got. */
  readonly #told = new Map<string, { readonly process: ProcessIdentity; signal: NodeJS.Signals }>();

  constructor({ group, sequence, forks, cgroup }: TreeParts) {
    this.leader = group.leader;
    this.#group = group;
    this.#sequence = sequence;
    this.#forks = forks;
    this.#cgroup = cgroup;
  }

  /** How many left the group and were told to end. */
  get escapees(): number {
    return this.#told.size;
  }

  /** Asks all of it to end; what is stopped would get the request only when it is continued. */
  ask(signal: NodeJS.Signals): void {
    this.#tellAll(signal, () => this.#group.ask(signal));
  }

  kill(): void {
    this.#tellAll('SIGKILL', () => this.#group.signal('SIGKILL'));
    this.#cgroup?.kill();
  }

  /** The group first, for what is in `/proc` can take its time. But a link to a parent is gone with the parent. */
  #tellAll(signal: NodeJS.Signals, tellGroup: () => void): void {
    this.#signal = signal;
    if (hasParentsOnly() && !this.#hasLeaderEnded) void signalDescendants(this.leader.pid, signal).then(tellGroup);
    else tellGroup();
    void this.#search();
  }

  /** The pids that run, as far as they are known. */
  members(): number[] {
    const escaped = this.#livingEscapees().map(({ pid }) => pid);
    return [...new Set([...this.#group.members(), ...escaped, ...(this.#cgroup?.members() ?? [])])];
  }

  /** Resolves when nothing of it runs any more, once its leader has ended; calls `onLeft` when something is left. */
  async gone(onLeft: () => void): Promise<void> {
    this.#hasLeaderEnded = true;
    if (this.#group.signal(0)) {
      onLeft();
      await this.#groupGone();
    }
    for (let delayMs = 1; (await this.#search()).hasEscapee; delayMs = Math.min(delayMs * 2, 50)) {
      onLeft();
      await sleep(delayMs);
      await this.#knownEscapeesGone();
    }
    // Where there is no `/proc`, this is how it is seen that something is left.
    for (let delayMs = 1; this.#cgroup && !this.#cgroup.remove(); delayMs = Math.min(delayMs * 2, 100)) {
      onLeft();
      // What was found or killed before may have been nothing, for want of a descriptor.
      for (const process of this.#contained()) this.#tell(process);
      if (this.#signal === 'SIGKILL') this.#cgroup.kill();
      await sleep(delayMs);
    }
  }

  /**
   * Resolves when no process of the group runs any more, zombies not counted: where nothing reaps them (a container without
   * an init) they would keep the group for ever. Whether they are all that is left takes long to find out, so that is done
   * rarely.
   */
  async #groupGone(): Promise<void> {
    for (let poll = 1; this.#group.signal(0); poll++) {
      const isTime = poll === 3 || poll === 4 || poll === 8 || poll % 16 === 0;
      if (isTime && hasProc() && !(await this.#search({ withGroup: true })).hasMember) return;
      await sleep(Math.min(2 ** poll, 100));
    }
  }

  /** What is found is signalled at once: one that forks and exits all the time is soon another. */
  async #search({ withGroup = false } = {}): Promise<{ readonly hasMember: boolean; readonly hasEscapee: boolean }> {
    const result = { hasMember: false, hasEscapee: false };
    const onFound = (process: ProcessIdentity & { readonly processGroup: number }) => {
      const isMember = process.processGroup === this.leader.pid;
      result[isMember ? 'hasMember' : 'hasEscapee'] = true;
      if (!isMember) this.#tell(process);
    };
    for (const process of this.#contained()) onFound(process);
    const [leader, sequence, forks] = [this.leader.pid, this.#sequence, this.#forks];
    await sweeper.search({ leader, sequence, forks, withGroup, onFound });
    return result;
  }

  /** What the cgroup has, but for the guard of an owner within it, which ends by itself when its work is done. */
  #contained(): (ProcessIdentity & { readonly processGroup: number })[] {
    const processes = (this.#cgroup?.members() ?? []).filter((pid) => !isOfGuard(pid)).map(processStat);
    return processes.filter((process) => process !== undefined);
  }

  #tell(process: ProcessIdentity): void {
    const key = `${process.pid}:${process.startTicks}`;
    const signal = this.#signal;
    if (!signal || this.#told.get(key)?.signal === signal || !isAlive(process)) return;
    // Whether it is the guard of an owner within can't be told any more.
    if (processStat(process.pid)?.isExiting) return;
    this.#told.set(key, { process, signal });
    send(process.pid, signal);
    if (signal !== 'SIGKILL') send(process.pid, 'SIGCONT');
  }

  #livingEscapees(): ProcessIdentity[] {
    return [...this.#told.values()].map(({ process }) => process).filter(isAlive);
  }

  async #knownEscapeesGone(): Promise<void> {
    for (let delayMs = 1; this.#livingEscapees().length > 0; delayMs = Math.min(delayMs * 2, 100)) await sleep(delayMs);
  }
}

function isOfGuard(pid: number): boolean {
  return read(`/proc/${pid}/environ`)?.includes('HOLDFAST_PROGRAM=') === true;
}
