import { expect, test } from 'vitest';
import { type Tree, trees } from '../fixtures/trees.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning, startFixture } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';

/** How the owner of a tree ends: what it is told to do, then the signal it gets. */
const endings: Record<string, { does?: string; signal?: NodeJS.Signals }> = {
  'its program ends': { does: 'normal end' },
  'process.exit()': { does: 'process.exit()' },
  'an uncaught error': { does: 'uncaught error' },
  SIGTERM: { signal: 'SIGTERM' },
  SIGINT: { signal: 'SIGINT' },
  SIGHUP: { signal: 'SIGHUP' },
  SIGABRT: { signal: 'SIGABRT' },
  SIGKILL: { signal: 'SIGKILL' },
  'SIGTERM while its event loop is blocked': { does: 'blocked event loop', signal: 'SIGTERM' },
  'SIGKILL while its event loop is blocked': { does: 'blocked event loop', signal: 'SIGKILL' },
  'SIGKILL while it is stopped': { does: 'stopped', signal: 'SIGKILL' },
};

async function end(
  owner: ReturnType<typeof startFixture>,
  { does, signal }: { does?: string; signal?: NodeJS.Signals },
) {
  if (does === 'stopped') owner.process.kill('SIGSTOP');
  else if (does) owner.process.stdin?.write('now\n');
  if (does === 'blocked event loop') expect(await owner.next()).toBe('blocked');
  if (signal) owner.process.kill(signal);
}

for (const [name, { script, lines, processes }] of Object.entries(trees)) {
  for (const [cause, ending] of Object.entries(endings)) {
    test.concurrent(`no process of a tree (${name}) survives its owner’s end by ${cause}`, async () => {
      const owner = startFixture('owner', [script, lines, 150, ending.does]);
      try {
        const pids: number[] = await owner.next();
        expect(pids).toHaveLength(processes);
        expect(pids.every(isRunning)).toBe(true);
        await end(owner, ending);
        await eventually(() => expect(pids.filter(isRunning)).toEqual([]));
      } finally {
        await owner.kill();
      }
    });
  }
}

test('an abort in the owner ends the whole tree and the owner goes on', async () => {
  const { script, lines } = trees['grandchildren under a shell'] as Tree;
  const owner = startFixture('owner', [script, lines, 150, 'abort']);
  const pids: number[] = await owner.next();
  owner.process.stdin?.write('now\n');
  await eventually(() => expect(pids.filter(isRunning)).toEqual([]));
  expect(isRunning(owner.pid)).toBe(true);
  await owner.kill();
});

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
  await eventually(() => expect(pids.filter(isRunning)).toEqual([]), 10_000);
  expect(performance.now() - before).toBeLessThan(promisedMs(2_500));
});
