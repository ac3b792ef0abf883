import { membersOfGroup, type ProcessIdentity, processStat } from '../internal/proc.ts';

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

  /** The number stays reserved while the group has members; after that a stranger may lead a group of this number. */
  #isReused(): boolean {
    const { pid, startTicks } = this.leader;
    const present = startTicks === 0 ? undefined : processStat(pid);
    return present !== undefined && present.startTicks !== startTicks;
  }
}
