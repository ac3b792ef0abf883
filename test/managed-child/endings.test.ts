import { expect, test } from 'vitest';
import { evasiveTrees, type Tree, trees } from '../fixtures/trees.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning, startFixture } from '../support/processes.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { GRACE_MS, type MarkedOwner, startMarked } from '../support/survivors.ts';

/** How the owner of a tree ends: what it is told to do, then the signal it gets. */
interface Ending {
  readonly does?: string;
  readonly signal?: NodeJS.Signals;
}

const endings: Record<string, Ending> = {
  'its program ends': { does: 'normal end' },
  'process.exit()': { does: 'process.exit()' },
  'an uncaught error': { does: 'uncaught error' },
  'process.abort()': { does: 'process.abort()' },
  SIGTERM: { signal: 'SIGTERM' },
  SIGINT: { signal: 'SIGINT' },
  SIGHUP: { signal: 'SIGHUP' },
  SIGABRT: { signal: 'SIGABRT' },
  SIGKILL: { signal: 'SIGKILL' },
  'SIGTERM while its event loop is blocked': { does: 'blocked event loop', signal: 'SIGTERM' },
  'SIGKILL while its event loop is blocked': { does: 'blocked event loop', signal: 'SIGKILL' },
  'SIGKILL while it is stopped': { does: 'stopped', signal: 'SIGKILL' },
};

/** Trees that are not, or not for long, where they were started. */
const outside = ['grandchild in its own session', 'double-forked daemon', 'continuous forker'];

/** Nothing of the tree runs a second after the grace. */
async function endAll(owner: MarkedOwner, { does, signal }: Ending): Promise<void> {
  if (does === 'stopped') owner.process.kill('SIGSTOP');
  else if (does) owner.process.stdin?.write('now\n');
  if (does === 'blocked event loop') expect(await owner.next()).toBe('blocked');
  if (signal) owner.process.kill(signal);
  await owner.exit;
  await owner.expectNone();
}

async function start({ script, lines, processes }: Tree, containment: string, does?: string): Promise<MarkedOwner> {
  const owner = startMarked('owner', [script, lines, GRACE_MS, does, { containment }]);
  try {
    owner.watch(await owner.next());
    await eventually(() => expect(owner.tree().length).toBeGreaterThanOrEqual(processes));
  } catch (error) {
    await owner[Symbol.asyncDispose]();
    throw error;
  }
  return owner;
}

for (const [name, tree] of Object.entries(trees)) {
  for (const [cause, ending] of Object.entries(endings)) {
    test.concurrent(`no process of a tree (${name}) survives its owner’s end by ${cause}`, async () => {
      await using owner = await start(tree, 'group', ending.does);
      await endAll(owner, ending);
    });
  }

  test.concurrent(`an abort in the owner ends the whole tree (${name}) and the owner goes on`, async () => {
    await using owner = await start(tree, 'group', 'abort');
    owner.process.stdin?.write('now\n');
    await owner.expectNone();
    expect(isRunning(owner.pid)).toBe(true);
  });

  if (!outside.includes(name)) continue;
  test.concurrent(`\`await using\` ends the whole tree (${name}) before the block is left`, async () => {
    await using owner = await start(tree, 'group', 'dispose');
    owner.process.stdin?.write('now\n');
    expect(await owner.next()).toMatchObject({ reason: 'terminated' });
    await owner.expectNone(0);
  });
}

for (const name of outside) {
  for (const cause of ['process.exit()', 'SIGTERM', 'SIGKILL while its event loop is blocked']) {
    test.concurrent(`with a cgroup no process of a tree (${name}) survives its owner’s end by ${cause}`, async () => {
      await using owner = await start(trees[name] as Tree, 'auto', endings[cause]?.does);
      await endAll(owner, endings[cause] as Ending);
    });
  }
}

for (const [name, tree] of Object.entries(evasiveTrees)) {
  const { repeats = 2 } = tree;
  test.concurrent(
    `${name} does not survive its owner: ${repeats} owners killed`,
    async () => {
      for (let round = 0; round < repeats; round++) {
        await using owner = await start(tree, 'group');
        await endAll(owner, { signal: 'SIGKILL' });
      }
    },
    promisedMs(60_000),
  );

  test.concurrent(`${name} does not survive an abort in its owner`, async () => {
    await using owner = await start(tree, 'group', 'abort');
    owner.process.stdin?.write('now\n');
    await owner.next();
    await owner.expectNone(0);
  });
}

test('a signal that shells do not know by name still ends the tree when the owner is killed', async () => {
  const owner = startFixture('owner', [trees.plain?.script, 1, 100, null, { termSignal: 'SIGSTKFLT' }]);
  const pids: number[] = await owner.next();
  await owner.kill('SIGKILL');
  await eventually(() => expect(pids.filter(isRunning)).toEqual([]));
});

test('the grace of many stubborn trees is counted by the clock, not by how long it takes to look at them', async () => {
  const owner = startFixture('many-stubborn', [250, 500]);
  const pids: number[] = await owner.next();
  expect(pids).toHaveLength(250);
  await owner.kill('SIGKILL');
  const before = performance.now();
  await eventually(() => expect(pids.filter(isRunning)).toEqual([]), patienceMs(10_000));
  expect(performance.now() - before).toBeLessThan(promisedMs(2_500));
});
