/**
 * What the end of a child and of its owner takes, for holdfast beside its peers, interleaved in one run:
 *
 *   npm run bench:endings -- [--only killed]
 *
 * The parts are at the end of this file; all of them take some minutes. With 5,000 other processes on the machine it is measured too, where so many may be started.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { report } from './compare.ts';
import { type Owned, own } from './endings/owned.ts';
import { Cells } from './survivors/cells.ts';
import { isOurs, peersHere } from './survivors/peers.ts';
import { type Tree, trees } from './survivors/trees.ts';

const ROUNDS = 5;
/** Enough for a p99, or what stands for it. */
const OWNERS = 30;
const CHILDREN = 500;
const STRANGERS = 5_000;
const IDLE_MS = 5_000;
const MANY_ROUNDS = 1_000;
const STAY = 'exec sleep 60';
const ESCAPING = trees['grandchild in its own session'] as Tree;

const PARTS = ['killed', 'leases', 'spawning', 'guards', 'idling', 'descriptors', 'many', 'strangers'] as const;

// First, for it may end here.
const only = readOnly();
const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
await using cells = new Cells();
cells.endOnSignals();
// Ours first: what the others are is told beside it.
const peers = (await peersHere()).filter((name) => name !== 'execa, killDescendants').reverse();
const ours = peers.filter(isOurs);

type Figures = Record<string, number>;
type Unit = Parameters<typeof report>[0]['unit'];

interface Gathering {
  readonly unit: Unit;
  readonly rounds?: number;
  readonly of?: readonly string[];
  readonly spread?: 'p99';
  /** For what does but idle. */
  readonly atOnce?: boolean;
}

/** Takes figures of every peer in turn, round by round, and reports each of them. */
async function gather(
  { unit, rounds = ROUNDS, of = peers, spread = undefined, atOnce = false }: Gathering,
  take: (peer: string) => Promise<Figures>,
): Promise<void> {
  const figures = new Map<string, Map<string, number[]>>();
  const takeOne = async (peer: string) => {
    for (const [title, value] of Object.entries(await take(peer))) {
      const samples = figures.get(title) ?? new Map<string, number[]>();
      figures.set(title, samples.set(peer, [...(samples.get(peer) ?? []), value]));
    }
  };
  for (let round = 0; round < rounds; round++) {
    // What the others leave alive they always do.
    const inTurn = of.filter((peer) => round < ROUNDS || isOurs(peer) || !spread);
    if (atOnce) await Promise.all(inTurn.map(takeOne));
    else for (const peer of inTurn) await takeOne(peer);
  }
  for (const [title, samples] of figures) report({ title, unit, samples, ...(spread && { spread }) });
}

async function killOf(peer: string, count: number): Promise<number> {
  await using owner = own(cells, peer);
  return owner.kill(await owner.tell('start', { count, script: STAY }));
}

/** Until what has left for a session of its own is gone. */
async function killOfEscapee(peer: string): Promise<number> {
  await using owner = own(cells, peer);
  return owner.kill(await startEscaping(owner));
}

let outputs = 0;

/** All pids of the tree. */
async function startEscaping(owner: Owned): Promise<number[]> {
  const output = join(folder, String(outputs++));
  await owner.tell('start', { count: 1, script: ESCAPING.script, output });
  for (;;) {
    const pids = readFileSync(output, 'utf8').split('\n').filter(Boolean);
    if (pids.length === ESCAPING.lines) return pids.map(Number);
    await sleep(5);
  }
}

async function abortOf(peer: string, count: number): Promise<{ ms: number; cpuMs: number }> {
  await using owner = own(cells, peer);
  await owner.tell('start', { count, script: STAY });
  await sleep(300); // what may have left a child that was only just started is quickly found
  return await owner.tell('abort'); // before the owner is disposed of
}

async function spawning(): Promise<void> {
  // One owner for all of them: what a fork takes grows with the memory of who forks.
  await using owner = own(cells, 'child_process');
  const times = (peer: string) => owner.tell('times', { peer, calls: 30 });
  for (const peer of peers) await times(peer); // they are loaded, and have warmed up
  await gather({ unit: 'ms', rounds: 7 }, async (peer) => {
    const { started, exited, closed } = await times(peer);
    return { 'Call to started': started, 'Call to exited, of true': exited, 'Call to closed, of true': closed };
  });
}

async function guards(): Promise<void> {
  const counts = { before: new Set<number>(), after: new Set<number>() };
  await gather({ unit: 'KiB', of: ours }, async (peer) => {
    await using owner = own(cells, peer);
    await owner.tell('rounds', { count: 0, atOnce: 0 }); // it is loaded
    counts.before.add(owner.guards().length);
    await owner.tell('start', { count: 10, script: STAY });
    const [guard = 0, ...others] = owner.guards();
    counts.after.add(1 + others.length);
    const memory = readFileSync(`/proc/${guard}/smaps_rollup`, 'utf8');
    const kibibytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(memory)?.[1]);
    return { 'Memory of the guard, RSS': kibibytes('Rss'), 'Memory of the guard, PSS': kibibytes('Pss') };
  });
  console.log(`  guards before the first spawn: ${[...counts.before]}; with 10 children: ${[...counts.after]}`);
}

async function idling(): Promise<void> {
  await gather({ unit: 'ms', atOnce: true }, async (peer) => {
    await using owner = own(cells, peer);
    await owner.tell('start', { count: 10, script: STAY });
    await sleep(1_000); // what its start leaves to do
    const processes = [owner.pid, ...owner.guards()];
    const before = processes.map(cpuMs);
    await sleep(IDLE_MS);
    const [ofOwner = 0, ofGuard = 0] = processes.map((pid, index) => cpuMs(pid) - (before[index] ?? 0));
    const figures: Figures = { [`CPU time of an owner with 10 idle children in ${IDLE_MS / 1000} s`]: ofOwner };
    if (isOurs(peer)) figures[`CPU time of its guard in ${IDLE_MS / 1000} s`] = ofGuard;
    return figures;
  });
}

/** utime and stime are in units of 10 ms; what the scheduler counts is finer. */
function cpuMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const times = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return times.reduce((sum, nanoseconds) => sum + Number(nanoseconds) / 1e6, 0);
}

async function descriptors(): Promise<void> {
  await gather({ unit: 'of them', rounds: 1 }, async (peer) => {
    await using owner = own(cells, peer);
    return {
      'Descriptors before the first child': await owner.tell('rounds', { count: 0, atOnce: 0 }),
      'Descriptors after 1 child': await owner.tell('rounds', { count: 1, atOnce: 1 }),
      [`Descriptors after ${MANY_ROUNDS} children`]: await owner.tell('rounds', { count: MANY_ROUNDS, atOnce: 10 }),
    };
  });
}

/** On a machine with so many other processes. */
async function among(strangers: number): Promise<void> {
  const where = `with ${strangers} other processes`;
  await gather({ unit: 'ms', of: ours, rounds: 10 }, async (peer) => ({
    [`SIGKILL of the owner to a process in its own session gone, ${where}`]: await killOfEscapee(peer),
  }));
  await gather({ unit: 'ms' }, async (peer) => {
    const { ms, cpuMs } = await abortOf(peer, 1);
    return { [`Abort to closed, ${where}`]: ms, [`CPU time of the owner for the end of a child, ${where}`]: cpuMs };
  });
}

async function amongMany(): Promise<void> {
  const most = Number(/^Max processes\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity);
  const pids = Number(readFileSync('/proc/sys/kernel/pid_max', 'utf8'));
  if (Math.min(most, pids) < 2 * STRANGERS)
    return console.log(`\nnot run: ${STRANGERS} others; too few may be started`);
  await using cell = cells.add();
  // They end by themselves if this is killed.
  const program = `i=0; while [ $i -lt ${STRANGERS} ]; do sleep 180 & i=$((i + 1)); done; echo there; wait`;
  const crowd = cell.spawn('sh', ['-c', program]);
  await new Promise((resolve) => crowd.stdout.once('data', resolve));
  await among(STRANGERS);
}

const parts: Readonly<Record<(typeof PARTS)[number], () => Promise<void>>> = {
  async killed() {
    await gather({ unit: 'ms', rounds: OWNERS, spread: 'p99' }, async (peer) => ({
      'SIGKILL of the owner to all of its 100 children gone': await killOf(peer, 100),
    }));
    await gather({ unit: 'ms', rounds: OWNERS, spread: 'p99' }, async (peer) => ({
      'SIGKILL of the owner to a process in its own session gone': await killOfEscapee(peer),
    }));
  },
  async leases() {
    for (const count of [1, 30, 100]) {
      await gather({ unit: 'ms', of: ours }, async (peer) => {
        await using owner = own(cells, peer);
        return {
          [`End of ${count} leases at once, the owner stopped, to all of their children gone`]:
            await owner.expire(count),
        };
      });
    }
  },
  spawning,
  guards,
  idling,
  descriptors,
  async many() {
    // tree-kill starts a ps for each: half a minute for so many.
    await gather({ unit: 'ms', of: peers.filter((peer) => peer !== 'tree-kill') }, async (peer) => ({
      [`SIGKILL of the owner to all of its ${CHILDREN} children gone`]: await killOf(peer, CHILDREN),
      [`Abort to ${CHILDREN} children closed`]: (await abortOf(peer, CHILDREN)).ms,
    }));
  },
  async strangers() {
    await among(0);
    await amongMany();
  },
};

for (const name of PARTS) if (only.length === 0 || only.includes(name)) await parts[name]();

function readOnly(): readonly string[] {
  try {
    const { values } = parseArgs({ options: { only: { type: 'string', multiple: true, default: [] } } });
    for (const name of values.only) {
      if (!(PARTS as readonly string[]).includes(name))
        throw new TypeError(`--only must be one of ${PARTS.join(' | ')}, received ${name}`);
    }
    return values.only;
  } catch (error) {
    console.error((error as Error).message);
    process.exit(2);
  }
}
