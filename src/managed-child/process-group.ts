import { hasProc, membersOfGroup, type ProcessIdentity, processStat } from '../internal/proc.ts';
import { sleep } from '../internal/time.ts';

/** The process group that a child leads, told apart from a later one of the same number by its leader's start time. */
export class ProcessGroup {
  readonly leader: ProcessIdentity;

  constructor(leader: ProcessIdentity) {
    if (leader.pid <= 1) throw new RangeError(`refusing to signal process group ${leader.pid}`);
    this.leader = leader;
  }

  /** Signals every process of the group; false if there is none any more, or none that this user may signal. */
  signal(signal: NodeJS.Signals | 0): boolean {
    if (this.#isReused()) return false;
    try {
      return process.kill(process.platform === 'win32' ? this.leader.pid : -this.leader.pid, signal);
    } catch (error) {
      return signal === 0 && (error as NodeJS.ErrnoException).code === 'EPERM';
    }
  }

  /** Asks the group to end; one that is stopped would get the request only when it is continued. */
  ask(signal: NodeJS.Signals): void {
    if (this.signal(signal)) this.signal('SIGCONT');
  }

  /** The pids that run in it; zombies do not. */
  members(): number[] {
    return this.#isReused() ? [] : membersOfGroup(this.leader.pid);
  }

  /**
   * Resolves when no process of the group runs any more, zombies not counted: where nothing reaps them (a container
   * without an init) they would keep the group for ever. Polls quickly first, then every 100 ms.
   */
  async gone(): Promise<void> {
    for (let delayMs = 2; this.signal(0); delayMs = Math.min(delayMs * 2, 100)) {
      if (delayMs >= 8 && hasProc() && this.members().length === 0) return;
      await sleep(delayMs);
    }
  }

  /** The number stays reserved while the group has members; after that a stranger may lead a group of this number. */
  #isReused(): boolean {
    const { pid, startTicks } = this.leader;
    const present = startTicks === 0 ? undefined : processStat(pid);
    return present !== undefined && present.startTicks !== startTicks;
  }
}
