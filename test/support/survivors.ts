import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { eventually } from './eventually.ts';
import { type Fixture, killProcess, processesWithMark, startFixture } from './processes.ts';
import { promisedMs } from './promised.ts';

/** What a test may leave to a tree after the end of its owner: a grace, and a second. */
export const GRACE_MS = 150;
const LIMIT_MS = GRACE_MS + 1_000;

const NAME = 'HOLDFAST_TEST_TREE';
type Seen = ReturnType<typeof processesWithMark>;

/** An owner, and a mark in the environment of all that it starts; `await using` ends all of it. */
export interface MarkedOwner extends Fixture, AsyncDisposable {
  /** `NAME=value`. */
  readonly mark: string;
  /** The tree as it is at a moment: one that forks all the time may be missed. */
  tree(): Seen;
  /** These belong to the tree too, as it said; none of them shows the mark if it wrote over its environment. */
  watch(pids: readonly number[]): void;
  /** Fails if something of the tree still runs when the time is over. */
  expectNone(limitMs?: number): Promise<void>;
}

/** Starts a fixture whose tree can be told from all others. */
export function startMarked(fixture: string, args: readonly unknown[], env: NodeJS.ProcessEnv = {}): MarkedOwner {
  const id = randomUUID();
  const mark = `${NAME}=${id}`;
  const owner = startFixture(fixture, args, { ...env, [NAME]: id });
  const watched: { pid: number; started: string | undefined }[] = [];
  const said = () => watched.filter(({ pid, started }) => started !== undefined && startedOf(pid) === started);
  const tree = () => processesWithMark(mark).filter(({ pid }) => pid !== owner.pid);
  const all = () => [...tree(), ...said()];
  return {
    ...owner,
    mark,
    tree,
    watch(pids) {
      watched.push(...pids.map((pid) => ({ pid, started: startedOf(pid) })));
    },
    async expectNone(limitMs = promisedMs(LIMIT_MS)) {
      await eventually(async () => expect(await surely(all)).toEqual([]), limitMs);
    },
    async [Symbol.asyncDispose]() {
      await owner.kill();
      for (const { pid } of said()) process.kill(pid, 'SIGKILL');
      await endMarked(mark);
    },
  };
}

/** When a process started, undefined if it does not run: not as long as a thread of it does, though its main thread has ended. */
function startedOf(pid: number): string | undefined {
  try {
    const states = readdirSync(`/proc/${pid}/task`).map((thread) => fieldsOf(`${pid}/task/${thread}`)[0] as string);
    return states.some((state) => !/[ZX]/.test(state)) ? fieldsOf(String(pid))[19] : undefined;
  } catch {
    return undefined;
  }
}

function fieldsOf(path: string): string[] {
  return readFileSync(`/proc/${path}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
}

/** A process that forks and exits all the time slips by one look, hardly by eight. */
async function surely<T>(look: () => T[]): Promise<T[]> {
  for (let pass = 0; pass < 8; pass++) {
    const seen = look();
    if (seen.length > 0) return seen;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return [];
}

/** Ends what a test started, whether it was to survive or not. */
export async function endMarked(mark: string): Promise<void> {
  await eventually(async () => {
    for (const { pid } of processesWithMark(mark)) killProcess(pid);
    expect(await surely(() => processesWithMark(mark))).toEqual([]);
  }, 30_000);
}
