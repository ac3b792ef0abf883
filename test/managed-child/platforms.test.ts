import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, describe, expect, test } from 'vitest';
import { cgroupPlace } from '../../src/managed-child/cgroup.ts';
import { debianProgram } from '../support/debian.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { hasNamespaces, withMounts } from '../support/namespace.ts';
import { fixtureArguments, isRunning, processesWithMark } from '../support/processes.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const busybox = await debianProgram('busybox', ['busybox-static']);
const bash = await debianProgram('bash', ['bash']);
const canMount = hasNamespaces();

/** A directory with nothing in it but busybox, under the names of all that it can do. */
function busyboxOnly(): string {
  const directory = join(temporaryDirectory(), 'bin');
  mkdirSync(directory);
  execFileSync(busybox?.path as string, ['--install', '-s', directory]);
  return directory;
}

/** Starts an owner within mounts of its own. */
function startOwner(mounts: string, owner: object, env: NodeJS.ProcessEnv = {}) {
  const [program = '', ...args] = [...withMounts(mounts), process.execPath, ...fixtureArguments('bare-owner', [owner])];
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    pid: child.pid as number,
    next: async () => JSON.parse((await lines.next()).value ?? 'null'),
    write: (line: string) => child.stdin.write(`${line}\n`),
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

const gone = (pids: readonly number[]) =>
  eventually(() => expect(pids.filter(isRunning)).toEqual([]), patienceMs(10_000));

/** The group, one that ignores the request to end, one in another session, and a daemon. */
const TREE = `
  sh -c "trap '' TERM; echo \\$\\$; while :; do sleep 0.1; done" &
  setsid sh -c 'echo $$; exec sleep 300' &
  (setsid sh -c 'echo $$; sleep 300 & echo $!; wait' &)
  echo $$; wait`;
const GROUP = `sh -c "trap '' TERM; echo \\$\\$; while :; do sleep 0.1; done" & sleep 300 & echo $!; echo $$; wait`;

const shells = [
  { shell: 'dash', mounts: ':', hasBusybox: false },
  { shell: 'busybox', mounts: `mount --bind ${busybox?.path} /bin/sh`, hasBusybox: true },
  { shell: 'bash', mounts: `mount --bind ${bash?.path} /bin/sh`, hasBusybox: false },
];

describe.runIf(canMount)('with the shell of', () => {
  for (const { shell, mounts, hasBusybox } of shells) {
    for (const [how, execPath] of Object.entries({ 'by Node': undefined, 'without a Node to run': '/nowhere/node' })) {
      test(`${shell} the guard ends what is left, ${how}, and no ps is needed`, async () => {
        const env = hasBusybox ? { PATH: busyboxOnly() } : {};
        const options = { containment: 'group', graceMs: 100 };
        const owner = startOwner(mounts, { script: TREE, lines: 5, execPath, options }, env);
        const pids: number[] = await owner.next();
        expect(pids.filter(isRunning)).toHaveLength(5);
        await owner.kill();
        await gone(pids);
      });
    }

    test(`${shell} the guard keeps a lease, whose owner is stopped`, async () => {
      const env = hasBusybox ? { PATH: busyboxOnly() } : {};
      const options = { containment: 'group', graceMs: 60_000 };
      const owner = startOwner(mounts, { script: TREE, lines: 5, options, leaseMs: 600 }, env);
      const pids: number[] = await owner.next();
      process.kill(owner.pid, 'SIGSTOP');
      await gone(pids);
      await owner.kill();
    });
  }
});

describe.runIf(canMount)('with the /proc of another pid namespace, whose numbers are those of others,', () => {
  function startOwner(owner: object) {
    const mark = `HOLDFAST_TEST_ROUND=${randomUUID()}`;
    const [name = '', value] = mark.split('=');
    // Its pid 1 is another, for the owner shall end by itself.
    const init = ['-c', '"$0" "$@" & wait; sleep 300', process.execPath, ...fixtureArguments('bare-owner', [owner])];
    const outer = spawn('unshare', ['--pid', '--fork', '--kill-child', 'sh', ...init], {
      env: { ...process.env, [name]: value },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface(outer.stdout)[Symbol.asyncIterator]();
    return {
      next: async () => JSON.parse((await lines.next()).value ?? 'null'),
      owner: () => processesWithMark(mark).find(({ command }) => command.startsWith(process.execPath))?.pid as number,
      running: () =>
        processesWithMark(mark)
          .map(({ command }) => command.trim())
          .filter((command) => !command.includes(process.execPath)),
      async end() {
        outer.kill('SIGKILL');
        await once(outer, 'exit');
        await eventually(() => expect(processesWithMark(mark)).toEqual([]));
      },
    };
  }

  test('the group of a child ends with its owner', async () => {
    const { next, owner, running, end } = startOwner({
      script: GROUP,
      lines: 3,
      // The guard that would remove a cgroup ends with the namespace.
      options: { graceMs: 100, containment: 'group' },
    });
    await next();
    expect(running().length).toBeGreaterThanOrEqual(3);
    process.kill(owner(), 'SIGKILL');
    await eventually(() => expect(running()).toEqual(['sleep 300']));
    await end();
  });

  test('no number is taken for that of an escapee', async () => {
    const options = { containment: 'group' };
    const { next, running, end } = startOwner({ script: 'setsid sleep 301 & echo $$; sleep 0.1; exit 3', options });
    await next();
    expect(await next()).toMatchObject({ code: 3, escapees: 0 });
    expect(running()).toContain('sleep 301');
    await end();
  });

  test.runIf('directory' in cgroupPlace())('a cgroup needs none', async () => {
    const options = { containment: 'cgroup', graceMs: 100 };
    const { next, running, end } = startOwner({ script: 'setsid sleep 301 & echo $$; sleep 0.1; exit 3', options });
    await next();
    expect(await next()).toMatchObject({ code: 3 });
    expect(running()).not.toContain('sleep 301');
    await end();
  });
});

describe.runIf(canMount)('a process that forks all the time is found', () => {
  const frozen = join(temporaryDirectory(afterAll), 'loadavg');
  writeFileSync(frozen, '0.00 0.00 0.00 1/100 12345\n');
  const loadavg = `mount --bind ${frozen} /proc/loadavg`;
  const kernel = `mount -t tmpfs none /proc/sys/kernel && echo 12345 > /proc/sys/kernel/ns_last_pid`;
  test.each([
    ['where /proc/loadavg is not the kernel’s', loadavg],
    ['where no file of the kernel tells the last pid', `${loadavg} && ${kernel}`],
  ])('%s', async (_, mounts) => {
    const hops = join(temporaryDirectory(), 'hops');
    const hop = `select undef, undef, undef, 0.005; open F, ">>${hops}"; print F "."; close F; exit if fork; setsid;`;
    const script = `perl -MPOSIX=setsid -e '$| = 1; $end = time + 20; while (time < $end) { print "$$\\n" if ++$n == 5; ${hop} }' & wait; sleep 20`;
    const isStill = () => {
      const { size } = statSync(hops);
      return throughout(300, () => expect(statSync(hops).size).toBe(size));
    };
    for (const ending of ['kill', 'terminate']) {
      const options = { containment: 'group', graceMs: 100 };
      const owner = startOwner(mounts, { script, options, endMs: promisedMs(5_100) });
      await owner.next();
      if (ending === 'kill') {
        await owner.kill();
        await eventually(isStill);
      } else {
        owner.write('now');
        expect(await owner.next()).toMatchObject({ reason: 'terminated' });
        await isStill();
        await owner.kill();
      }
    }
  });
});

describe.runIf(canMount)('without /proc', () => {
  const mounts = 'mount -t tmpfs none /proc';

  test('the group of a child ends with its owner, and when it is told to', async () => {
    for (const ending of ['kill', 'terminate'] as const) {
      const owner = startOwner(mounts, { script: GROUP, lines: 3, options: { graceMs: 100 } });
      const pids: number[] = await owner.next();
      expect(pids.filter(isRunning)).toHaveLength(3);
      if (ending === 'terminate') owner.write('now');
      else await owner.kill();
      await gone(pids);
      if (ending === 'terminate') expect(await owner.next()).toMatchObject({ reason: 'terminated', signal: 'SIGTERM' });
      await owner.kill();
    }
  });

  test.each([
    ['nothing', 'ENOENT'],
    ['./nothing', 'ENOENT'],
    ['/tmp', 'EACCES'],
  ])('a program that can not be started (%s) is told as ever', async (command, code) => {
    const owner = startOwner(mounts, { script: '', command });
    expect(await owner.next()).toMatchObject({ name: 'SpawnError', cause: { code } });
    await owner.kill();
  });

  test('nothing survives owners that are killed at any instant while they start children', async () => {
    for (let round = 0; round < 20; round++) {
      const mark = `HOLDFAST_TEST_ROUND=${process.pid}-${round}`;
      const env = { HOLDFAST_TEST_ROUND: mark.split('=')[1] };
      const owner = startOwner(mounts, { script: 'echo; exec sleep 300', repeat: true, options: { graceMs: 0 } }, env);
      await owner.next();
      await throughout(round, () => expect(isRunning(owner.pid)).toBe(true));
      await owner.kill();
      await eventually(() => expect(processesWithMark(mark)).toEqual([]));
    }
  });
});
