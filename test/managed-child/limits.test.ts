import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { guardOf, isRunning, type Program, startProgram } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';

const PIDS = '/sys/fs/cgroup/pids';
const isRoot = process.getuid?.() === 0;
const canLimitProcesses = !isRoot || existsSync(PIDS);
if (!canLimitProcesses) console.warn(`skipped: root's processes can't be limited here, there is no ${PIDS}`);

/** Starts a child, says so, waits for a line, and starts the next, under whatever limit it was given by then. */
const PROGRAM = `
  import { readdirSync } from 'node:fs';
  import { ManagedChild } from 'holdfast';
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const first = await ManagedChild.spawn('sleep', ['300'], { graceMs: 0 });
  console.log('ready');
  await new Promise((resolve) => process.stdin.once('data', resolve));
  const before = descriptors();
  const attempts = 20;
  const results = [];
  for (let attempt = 0; attempt < attempts; attempt++) {
    const started = ManagedChild.spawn('sleep', ['300'], { graceMs: 0 });
    results.push(await started.then(() => 'started', ({ name, retryable, cause, message }) => [name, retryable, cause?.code, message]));
  }
  // Two pipes for each that was started.
  const leaked = () => descriptors() - before - 2 * results.filter((each) => each === 'started').length;
  for (let turn = 0; turn < 100 && leaked() > 0; turn++) await new Promise((resolve) => setTimeout(resolve, 10));
  console.log(JSON.stringify({ results, leaked: leaked() }));
  await first.terminate();
  console.log('ended');
  process.exit();
`;

let owner: Program | undefined;
let cgroup: string | undefined;

afterEach(async () => {
  await owner?.kill();
  const left = cgroup;
  if (left) await eventually(() => rmdirSync(left));
  cgroup = undefined;
});

async function outcome() {
  const program = owner as Program;
  program.process.stdin?.write('go\n');
  await eventually(() => expect(program.output()).toContain('ended'), patienceMs(20_000));
  return JSON.parse(program.output().split('\n')[1] as string);
}

/** Lets a process start no other. */
function limit(pid: number): void {
  if (!isRoot) execFileSync('prlimit', ['--nproc=1', '--pid', String(pid)]);
  else {
    cgroup = `${PIDS}/holdfast-test-${pid}`;
    mkdirSync(cgroup);
    writeFileSync(`${cgroup}/cgroup.procs`, String(pid));
    writeFileSync(`${cgroup}/pids.max`, '1');
  }
}

describe('a child that can not be started for a limit is an error that tells it and may be tried again', () => {
  test('of descriptors (EMFILE); what was opened for it is closed', async () => {
    owner = startProgram(PROGRAM, { TEST_DESCRIPTORS: '45' });
    await owner.says(/ready/);
    const { results, leaked } = await outcome();
    const failed = results.find((each: unknown) => each !== 'started');
    expect(failed?.slice(0, 3)).toEqual(['SpawnError', true, 'EMFILE']);
    expect(failed?.[3]).toContain('this process has too many open files (EMFILE); see ulimit -n');
    expect(leaked).toBeLessThanOrEqual(0);
  });

  test.runIf(canLimitProcesses)('of processes (EAGAIN)', async () => {
    owner = startProgram(PROGRAM);
    const { pid } = owner;
    await owner.says(/ready/);
    limit(pid);
    const { results, leaked } = await outcome();
    for (const result of results) expect(result.slice(0, 3)).toEqual(['SpawnError', true, 'EAGAIN']);
    expect(results[0][3]).toContain('the limit of processes is reached (EAGAIN); see ulimit -u');
    expect(leaked).toBeLessThanOrEqual(0);
  });
});

test.each(['group', 'auto'])(
  'a tree is not taken for gone while nobody can look, for want of descriptors: %s',
  async (containment) => {
    const script = `
    trap '' TERM; setsid sh -c 'echo $$; while :; do sleep 0.1; done' &
    sh -c 'echo $$; while :; do sleep 0.1; done' & trap 'exit 0' TERM; while :; do sleep 0.05; done`;
    owner = startProgram(
      `
    import { closeSync, openSync } from 'node:fs';
    import { ManagedChild } from 'holdfast';
    const options = { graceMs: 200, containment: '${containment}', stdin: 'ignore', stderr: 'ignore' };
    const child = await ManagedChild.spawn('sh', ['-c', ${JSON.stringify(script)}], options);
    child.stdout.on('data', (chunk) => process.stdout.write(chunk));
    await new Promise((resolve) => process.stdin.once('data', resolve));
    const taken = [];
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {}
    const waiting = setInterval(() => {
      try {
        taken.push(openSync('/dev/null', 'r')); // whatever the child’s end has given back
      } catch {}
    });
    child.closed.then(({ escapees }) => console.log('closed', escapees));
    child.terminate();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    clearInterval(waiting);
    console.log('free');
    for (const descriptor of taken) closeSync(descriptor);
  `,
      { TEST_DESCRIPTORS: '200' },
    );
    const pids = (await owner.says(/^\d+\n\d+\n/)).trim().split('\n').map(Number);
    owner.process.stdin?.write('go\n');
    await eventually(() => expect(owner?.output()).toContain('closed'), patienceMs(10_000));
    expect(pids.filter(isRunning)).toEqual([]);
    expect(owner.output()).toMatch(/free\nclosed [1-9]\n$/);
  },
);

test.runIf(canLimitProcesses)('a guard that can not start any process ends the groups by itself', async () => {
  owner = startProgram(`
    import { ManagedChild } from 'holdfast';
    const script = "trap '' TERM; echo; while :; do read -r _ < /dev/zero; done";
    const options = { graceMs: 60_000, containment: 'group', ready: { when: 'stdout', timeoutMs: ${patienceMs(10_000)} } };
    console.log((await ManagedChild.spawn('sh', ['-c', script], options)).pid);
  `);
  const pid = Number(await owner.says(/^\d+\n$/));
  const guard = guardOf(owner.pid);
  limit(guard);
  await owner.kill();
  await eventually(() => expect([pid, guard].filter(isRunning)).toEqual([]));
});
