// Tells who holds what another holds, by a kernel lock of its own that shares nothing with SourceLock's but the kernel.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import addon from 'fs-native-extensions';

/** Taken by whoever holds the source. The length of the locked range is the pid of the one for whom it is taken. */
export class Referee {
  /** For `ManagedChild` to pass on: the child is under the referee then as well. */
  readonly signal: AbortSignal = new AbortController().signal;
  readonly #file: number;
  #pid = process.pid;

  /** The referee's lock, or who has it and lives: that is double holding. */
  static async enter(path: string): Promise<Referee | { readonly by: string }> {
    const file = openSync(path, 'a+');
    while (!addon.tryLock(file, 0, process.pid)) {
      const pid = takerOf(file);
      if (pid !== undefined && !hasEnded(pid)) {
        closeSync(file);
        return { by: `${pid} ${commandOf(pid)}` };
      }
      // One that is dead or on its way out runs no program any more; the kernel closes its two files one after the other.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return new Referee(file);
  }

  private constructor(file: number) {
    this.#file = file;
  }

  hold(): { descriptors: readonly number[]; started(): void; end(): void } {
    return { descriptors: [this.#file], started() {}, end() {} };
  }

  /** From now on the child, which has inherited it, has the lock, and it ends with the child. */
  handOver(pid: number): void {
    addon.tryLock(this.#file, 0, pid);
    if (pid < this.#pid) addon.unlock(this.#file, pid, this.#pid - pid);
    this.#pid = pid;
    closeSync(this.#file);
  }

  leave(): void {
    if (this.#pid !== process.pid) return;
    addon.unlock(this.#file, 0, this.#pid);
    closeSync(this.#file);
  }
}

function takerOf(file: number): number | undefined {
  const { ino } = fstatSync(file, { bigint: true });
  const line = new RegExp(`^\\d+: OFDLCK .*:${ino} 0 (\\d+)$`, 'm').exec(readFileSync('/proc/locks', 'utf8'));
  return line ? Number(line[1]) + 1 : undefined;
}

const PF_EXITING = 4;

/** Whether it will never again run an instruction of its program. */
function hasEnded(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' || (Number(fields[6]) & PF_EXITING) !== 0;
  } catch {
    return true;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}
