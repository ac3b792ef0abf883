/**
 * What takes longer than a test may: storms, and the process and race tests again and again while both cores are busy.
 *
 *   npm run test:stress -- [--repeat 3] [--only managed-child,source-lock] [--storm-seconds 20] [--nodes 22,26] [--limit-minutes 20]
 *
 * It stops by itself at the limit; a round that did not start by then is reported as not run.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { ManagedChild } from 'holdfast';
import { lockStorm } from '../test/stress/lock-storm.ts';

const { values } = parseArgs({
  options: {
    repeat: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    'storm-seconds': { type: 'string', default: '20' },
    nodes: { type: 'string', default: '22,26' },
    'limit-minutes': { type: 'string', default: '20' },
  },
});
const deadline = performance.now() + Number(values['limit-minutes']) * 60_000;
/** Where processes, sockets and turns of the event loop race; what is left out is pure. */
const raceTests = [
  'test/managed-child',
  'test/source-lock/source-lock',
  'test/fanout-hub/delivery',
  'test/fanout-hub/http',
  'test/fanout-hub/lifecycle',
  'test/fanout-hub/process',
  'test/fanout-hub/races',
  'test/hdhomerun/faults',
  'test/hdhomerun/simulator',
  'test/publisher/exclusion',
  'test/publisher/faults',
  'test/publisher/stopping',
  'test/publisher/watching',
];
const isChosen = (path: string) => values.only.split(',').some((part) => path.includes(part));
const libraryTests = [
  'test/managed-child',
  'test/source-lock',
  'test/fanout-hub',
  'test/repository/node-version.test.ts',
];
const results: { name: string; passed: boolean }[] = [];

async function check(name: string, run: () => Promise<boolean>): Promise<void> {
  if (performance.now() > deadline) {
    console.log(`not run, the time is over: ${name}`);
    return;
  }
  const before = performance.now();
  const passed = await run();
  results.push({ name, passed });
  console.log(`${passed ? 'passed' : 'FAILED'}: ${name} (${((performance.now() - before) / 1000).toFixed(1)} s)`);
}

/** Runs a command and shows what it wrote if it fails. */
async function succeeds(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<boolean> {
  await using child = await ManagedChild.spawn(command, args, { env: { ...process.env, ...env } });
  let output = '';
  child.stdout?.on('data', (chunk) => {
    output = (output + chunk).slice(-20_000);
  });
  const { code } = await child.closed;
  if (code !== 0) console.log(output, child.stderrTail());
  return code === 0;
}

/** Busy loops on all cores for as long as they are not disposed of. */
async function load(): Promise<AsyncDisposable> {
  const busy = () => ManagedChild.spawn('sh', ['-c', 'while :; do :; done'], { graceMs: 0 });
  const loops = await Promise.all(Array.from({ length: availableParallelism() }, busy));
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(loops.map((loop) => loop.terminate()));
    },
  };
}

await check('a lock storm has no double holder and no wrong name', async () => {
  const result = await lockStorm({ processes: 12, seconds: Number(values['storm-seconds']), locked: true });
  console.log(result);
  return result.double + result.wrong + result.unnamed === 0 && result.acquired > 100 && result.kills > 10;
});

await check('the control: the same storm without the lock has double holders', async () => {
  const result = await lockStorm({ processes: 12, seconds: 3, locked: false });
  console.log(result);
  return result.double > 0;
});

for (const node of values.nodes.split(',').filter(Boolean)) {
  await check(`the library’s tests on Node ${node}`, () => {
    const vitest = 'node_modules/vitest/vitest.mjs';
    const args = ['exec', '--yes', `--package=node@${node}`, '--', 'node', vitest, 'run', ...libraryTests];
    return succeeds('npm', args, { HOLDFAST_TEST_NODE: node });
  });
}

for (let round = 1; round <= Number(values.repeat); round++) {
  await check(`the process and race tests under load, round ${round} of ${values.repeat}`, async () => {
    await using _load = await load();
    return await succeeds('vitest', ['run', ...raceTests.filter(isChosen)], { HOLDFAST_TEST_LOAD: 'yes' });
  });
}

const failed = results.filter(({ passed }) => !passed).length;
console.log(`${results.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
