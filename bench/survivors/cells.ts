// Where the processes of an owner are kept, so that all of them can be seen and ended whatever they do. The ground truth
// is the kernel's, not the library's.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRunning, processesWithMark } from '../../test/support/processes.ts';

const CELL = 'HOLDFAST_BENCH_CELL';
const TREE = 'HOLDFAST_BENCH_TREE';

/** What an owner gives to its tree, beside what it has itself: its helpers are told from its tree by it. */
export const treeEnvironment: Readonly<NodeJS.ProcessEnv> = { [TREE]: '1' };

/** A process that is still there. */
export interface Member {
  readonly pid: number;
  readonly command: string;
  readonly isTree: boolean;
}

/** An owner with pipes to tell it things and to hear from it. */
export type Owner = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * All cells of one run. Each is a cgroup v2 if they can be had, a mark in the environment else: a process can't leave a
 * cgroup by itself, and none of these drops its environment. Both are looked at if there are both.
 */
export class Cells implements AsyncDisposable {
  readonly #room: string | undefined = makeRoom();
  readonly #open = new Set<Cell>();
  #count = 0;
  #isClosed = false;

  /** How they are told apart, for people. */
  get groundTruth(): string {
    return this.#room ? 'one cgroup v2 per cell' : 'a mark in the environment per cell (no cgroup v2 can be made here)';
  }

  /** One more; ended by `await using`. */
  add(): Cell {
    if (this.#isClosed) throw new Error('the run is over');
    const cell = new Cell(`${process.pid}-${this.#count++}`, this.#room, () => this.#open.delete(cell));
    this.#open.add(cell);
    return cell;
  }

  /** Ends all that is left, which may be in the middle of a run. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#open].map((cell) => cell[Symbol.asyncDispose]()));
    if (this.#room) removeFolders(this.#room);
  }

  /** Leaves nothing behind on Ctrl-C and the like. */
  endOnSignals(): void {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, async () => {
        process.on('uncaughtException', () => {}); // what is in mid-run fails now, and must not end this too early
        await this[Symbol.asyncDispose]();
        process.exit(130);
      });
    }
  }
}

class Cell implements AsyncDisposable {
  readonly id: string;
  readonly #cgroup: string | undefined;
  readonly #onEnd: () => void;

  constructor(id: string, room: string | undefined, onEnd: () => void) {
    this.id = id;
    this.#onEnd = onEnd;
    this.#cgroup = room && join(room, id);
    if (this.#cgroup) mkdirSync(this.#cgroup);
  }

  /** Starts a command in it. */
  spawn(command: string, args: readonly string[]): Owner {
    const enter = this.#cgroup ? 'echo $$ > "$0/cgroup.procs" && ' : '';
    const program = `ulimit -c 0; ${enter} exec "$@"`;
    const owner = spawn('/bin/sh', ['-c', program, this.#cgroup ?? 'sh', command, ...args], {
      env: { ...process.env, [CELL]: this.id },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    for (const pipe of [owner.stdin, owner.stdout, owner.stderr]) pipe.on('error', () => {}); // its owner is killed
    return owner;
  }

  /** Starts a program, with the `holdfast` that was built. */
  spawnProgram(url: URL, args: readonly string[]): Owner {
    return this.spawn(process.execPath, [url.pathname, ...args]);
  }

  /** Cheap; that it is empty is for good, unless there is but a mark: then see {@link members} too. */
  isEmpty(): boolean {
    if (!this.#cgroup) return this.#marked().length === 0;
    return !/^populated 1$/m.test(read(join(this.#cgroup, 'cgroup.events')));
  }

  /** Who is left, zombies left out. Where cgroups can be had they are stopped first, so that none slips by. */
  async members(): Promise<Member[]> {
    await this.#freeze();
    // A process that forks all the time may be missed by a scan, hardly by twenty.
    for (let pass = this.#cgroup ? 20 : 1; pass <= 20; pass++) {
      const pids = new Set([...this.#marked(), ...this.#inCgroup()]);
      if (pids.size > 0) return [...pids].map(describe);
      await sleep(3);
    }
    return [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const deadline = performance.now() + 10_000; performance.now() < deadline; await sleep(5)) {
      this.#kill();
      if ((await this.members()).length === 0 && this.isEmpty()) break;
    }
    if (this.#cgroup) removeFolders(this.#cgroup);
    this.#onEnd();
  }

  #kill(): void {
    if (this.#cgroup) tryToWrite(join(this.#cgroup, 'cgroup.kill'), '1');
    for (const pid of this.#marked()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it is gone
      }
    }
  }

  async #freeze(): Promise<void> {
    if (!this.#cgroup) return;
    tryToWrite(join(this.#cgroup, 'cgroup.freeze'), '1');
    for (const deadline = performance.now() + 1_000; performance.now() < deadline; await sleep(2)) {
      if (this.isEmpty() || /^frozen 1$/m.test(read(join(this.#cgroup, 'cgroup.events')))) return;
    }
  }

  #marked(): number[] {
    return processesWithMark(`${CELL}=${this.id}`).map(({ pid }) => pid);
  }

  /** And in those below, which the library may have made. */
  #inCgroup(): number[] {
    if (!this.#cgroup) return [];
    const lists = [this.#cgroup, ...foldersBelow(this.#cgroup)].map((folder) => read(join(folder, 'cgroup.procs')));
    return lists.flatMap((list) => list.split('\n').filter(Boolean).map(Number)).filter(isRunning);
  }
}

function describe(pid: number): Member {
  return {
    pid,
    command: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 100),
    isTree: read(`/proc/${pid}/environ`).split('\0').includes(`${TREE}=1`),
  };
}

/** Below the cgroup of this process, if it may make some there. */
function makeRoom(): string | undefined {
  const mount = read('/proc/self/mountinfo')
    .split('\n')
    .find((line) => line.includes(' - cgroup2 '));
  const [, , , root, directory] = mount?.split(' ') ?? [];
  const own = /^0::(.*)$/m.exec(read('/proc/self/cgroup'))?.[1];
  if (!root || !directory || own === undefined) return undefined;
  const room = join(directory, relative(root, own), `holdfast-bench-${process.pid}`);
  try {
    mkdirSync(room);
    readFileSync(join(room, 'cgroup.freeze'));
    return room;
  } catch {
    return undefined;
  }
}

function removeFolders(folder: string): void {
  for (const each of [folder, ...foldersBelow(folder)].reverse()) {
    try {
      rmdirSync(each);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') console.error(`could not remove ${each}: ${error}`);
    }
  }
}

/** Above comes before below. */
function foldersBelow(path: string): string[] {
  try {
    const folders = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return folders.map(({ name }) => join(path, name)).flatMap((folder) => [folder, ...foldersBelow(folder)]);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function tryToWrite(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch {
    // it is gone
  }
}
