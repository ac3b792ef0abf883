import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ContainmentError, ManagedChild, SpawnError } from 'holdfast';
import { afterEach, describe, expect, test } from 'vitest';
import { cgroupPlace } from '../../src/managed-child/cgroup.ts';
import { eventually } from '../support/eventually.ts';
import { hasNamespaces, withMounts } from '../support/namespace.ts';
import { fixtureArguments, guardOf, isRunning, startProgram } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const place = cgroupPlace();
const directory = 'directory' in place ? place.directory : undefined;
if (!directory && process.env.CI) throw new Error(`no cgroup can be made in CI: ${JSON.stringify(place)}`);
if ('why' in place) console.warn(`skipped: ${place.why}`);

/** Those that an owner made here, by its pid. */
const cgroupsOf = (owner: number) =>
  readdirSync(directory as string).filter((name) => name.startsWith('HOLDFAST_CHILD_') && name.includes(`_${owner}_`));
const cgroupOf = (pid: number) => /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? '';
const output = async (command: string, args: readonly string[], options = {}) => {
  const child = await ManagedChild.spawn(command, args, options);
  return text(child.stdout as Readable);
};

/** Clears its environment, leaves the group, and daemonises. */
const SCRUBBING = `(setsid env -i /bin/sh -c 'echo $$; exec sleep 300' &) ; exec sleep 300`;

describe.runIf(directory)('a cgroup', () => {
  afterEach(() => eventually(() => expect(cgroupsOf(process.pid)).toEqual([])));

  test.each(['cgroup', 'auto'] as const)('holds the tree of each child, and is removed after it: %s', async (way) => {
    const children = await Promise.all(
      [1, 2].map(() =>
        ManagedChild.spawn('sh', ['-c', 'sleep 300 & echo; wait'], {
          containment: way,
          ready: { when: 'stdout', timeoutMs: promisedMs(5_000) },
        }),
      ),
    );
    expect(cgroupsOf(process.pid)).toHaveLength(2);
    const [first, second] = children.map(({ pid }) => cgroupOf(pid));
    expect(first).toContain('/HOLDFAST_CHILD_');
    expect(first).not.toBe(second);
    await children[0]?.terminate();
    expect(cgroupsOf(process.pid)).toHaveLength(1);
    await children[1]?.terminate();
  });

  test('finds a daemon that has cleared its environment, when the child is terminated', async () => {
    const child = await ManagedChild.spawn('sh', ['-c', SCRUBBING], { graceMs: 200 });
    const daemon = Number(await new Promise((resolve) => child.stdout?.once('data', resolve)));
    expect(isRunning(daemon)).toBe(true);
    expect(await child.terminate()).toMatchObject({ escapees: 1 });
    expect(isRunning(daemon)).toBe(false);
  });

  test('finds it when the owner is killed, and is removed by the guard', async () => {
    const owner = startProgram(`
      import { ManagedChild } from 'holdfast';
      const child = await ManagedChild.spawn('sh', ['-c', ${JSON.stringify(SCRUBBING)}], { graceMs: 100 });
      child.stdout.pipe(process.stdout);
    `);
    const daemon = Number(await owner.says(/^\d+\n/));
    expect(cgroupsOf(owner.pid)).toHaveLength(1);
    await owner.kill();
    await eventually(() => expect(isRunning(daemon)).toBe(false));
    await eventually(() => expect(cgroupsOf(owner.pid)).toEqual([]));
  });

  test('finds it in the grace after its owner was killed, and asks it to end', async () => {
    const owner = startProgram(`
      import { ManagedChild } from 'holdfast';
      const script = "setsid env -i /bin/sh -c 'echo $$; exec sleep 300' & trap '' TERM; echo $$; while :; do sleep 0.05; done";
      const child = await ManagedChild.spawn('sh', ['-c', script], { graceMs: 60_000 });
      child.stdout.pipe(process.stdout);
    `);
    const pids = (await owner.says(/^\d+\n\d+\n/)).trim().split('\n').map(Number);
    const guard = guardOf(owner.pid);
    await owner.kill();
    await eventually(() => expect(pids.filter(isRunning)).toHaveLength(1));
    expect(isRunning(guard)).toBe(true);
    for (const pid of pids.filter(isRunning)) process.kill(pid, 'SIGKILL');
    await eventually(() => expect([...pids, guard].filter(isRunning)).toEqual([]));
    expect(cgroupsOf(owner.pid)).toEqual([]);
  });

  test('counts nobody who is about to end by himself, such as the guard of an owner within it', async () => {
    const fifo = join(temporaryDirectory(), 'fifo');
    execFileSync('mkfifo', [fifo]);
    // It has no tag and ends with the leader, as a guard does, and takes its time: so much memory is given back.
    const ending = `$| = 1; $x = 'x' x 5e8; print "$$\\n"; open F, '<', '${fifo}'; <F>; POSIX::_exit(0)`;
    const script = `env -i HOLDFAST_PROGRAM= setsid perl -MPOSIX -e "$0" & exec 3> ${fifo}; read -r _`;
    const owner = startProgram(`
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      import { ManagedChild } from 'holdfast';
      const child = await ManagedChild.spawn('sh', ['-c', ${JSON.stringify(script)}, ${JSON.stringify(ending)}], { stdin: 'pipe' });
      const pid = await new Promise((resolve) => child.stdout.once('data', resolve));
      // The kernel lists nobody who is ending; who was listed before may be by the time he is looked at.
      const read = fs.readFileSync;
      fs.readFileSync = (path, ...rest) => String(path).endsWith('cgroup.procs') ? String(pid) : read(path, ...rest);
      syncBuiltinESMExports();
      child.stdin.end('\\n');
      await child.exited;
      console.log((await child.terminate()).escapees);
      process.exit();
    `);
    expect(await owner.says(/\n/)).toBe('0\n');
    await owner.exit;
  });

  test('of an owner within it goes with it', async () => {
    const nested = fixtureArguments('guarded');
    const child = await ManagedChild.spawn(process.execPath, nested, { stdin: 'pipe', graceMs: 0 });
    const lines = createInterface(child.stdout as Readable)[Symbol.asyncIterator]();
    for (const _ of ['before', 'after its children were started']) await lines.next();
    const below = readdirSync(`${directory}/${cgroupOf(child.pid).split('/').at(-1)}`);
    expect(below.filter((name) => name.startsWith('HOLDFAST_CHILD_'))).toHaveLength(2);
    // The two children of that owner; its guard is none, and would end them first.
    process.kill(guardOf(child.pid), 'SIGSTOP');
    expect(await child.terminate()).toMatchObject({ escapees: 2 });
  });

  test.each([
    ['as it is', {}],
    ['with what shells set themselves', { PWD: '/elsewhere', OLDPWD: '/nowhere', SHLVL: '7' }],
    ['without', { PWD: undefined, OLDPWD: undefined, SHLVL: undefined }],
  ])('changes nothing of what the program sees: arguments, working directory, environment %s', async (_, more) => {
    const program = `
      const { argv0, argv, env } = process;
      const rest = Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('HOLD')));
      console.log(JSON.stringify([argv0, argv.slice(1), rest, process.cwd()]));
    `;
    const args = ['-e', program, '--', '', 'a b', '$HOME `id` "quoted" \'single\'', 'line\nbreak', '*'];
    const env = { ...process.env, EMPTY: '', TRICKY: '$(id) \n "x"', ...more };
    const [bare, contained] = await Promise.all(
      (['group', 'cgroup'] as const).map((containment) =>
        output(process.execPath, args, { containment, env, cwd: '/' }),
      ),
    );
    expect(JSON.parse(contained as string)).toEqual(JSON.parse(bare as string));
  });

  test('changes nothing of how it is told that the interpreter of a script is missing', async () => {
    const script = join(temporaryDirectory(), 'script');
    writeFileSync(script, '#!/nowhere/interpreter -x\n', { mode: 0o755 });
    for (const containment of ['group', 'cgroup'] as const) {
      const error = await ManagedChild.spawn(script, [], { containment }).catch((e) => e);
      expect(error).toMatchObject({ name: 'SpawnError', command: script, cause: { code: 'ENOENT' } });
    }
  });

  test.each([
    ['/nowhere/ffmpeg', {}, 'ENOENT'],
    ['no-such-program', {}, 'ENOENT'],
    ['true', { cwd: '/nowhere' }, 'ENOENT'],
    ['true', { env: { PATH: '/nowhere' } }, 'ENOENT'],
    ['/etc/passwd', {}, 'EACCES'],
    ['/etc', {}, 'EACCES'],
  ])('changes nothing of how it is told that %s %j can not be started', async (command, options, code) => {
    for (const containment of ['group', 'cgroup'] as const) {
      const error = await ManagedChild.spawn(command, [], { ...options, containment }).catch((e) => e);
      expect(error).toBeInstanceOf(SpawnError);
      expect(error).toMatchObject({ command, cause: { code } });
    }
  });

  test.each(['not a name', 'IFS', 'OPTIND', 'PPID'])(
    'is done without, by auto, for an environment that a shell would not hand on: %s',
    async (name) => {
      const env = { ...process.env, [name]: 'kept' };
      const child = await ManagedChild.spawn(process.execPath, ['-p', `process.env['${name}']`], { env });
      expect(await text(child.stdout as Readable)).toBe('kept\n');
      const error = await ManagedChild.spawn('true', [], { env, containment: 'cgroup' }).catch((e) => e);
      expect(error).toBeInstanceOf(ContainmentError);
      expect(error.message).toContain(`lose or change the variable ${name} of env`);
    },
  );
});

describe.runIf(hasNamespaces() && directory)('where cgroups are', () => {
  const unmount = `umount -l ${directory}`;
  const run = async (mounts: string, options: object) => {
    const [program = '', ...args] = [
      ...withMounts(mounts),
      process.execPath,
      ...fixtureArguments('bare-owner', [options]),
    ];
    const child = await ManagedChild.spawn(program, args, { stdin: 'pipe', containment: 'group' });
    child.stdin?.end('end\n');
    const lines = (await text(child.stdout as Readable)).trim().split('\n');
    return lines.map((line) => JSON.parse(line));
  };
  const tree = { script: 'sed -n s/^0:://p /proc/self/cgroup >&2; echo $$; exec sleep 300' };

  test('mounted elsewhere, they are found by mountinfo', async () => {
    const elsewhere = join(temporaryDirectory(), 'c group');
    mkdirSync(elsewhere);
    const mounts = `${unmount}; mount -t cgroup2 none "${elsewhere}"`;
    const [, exit] = await run(mounts, { ...tree, options: { containment: 'cgroup' } });
    expect(exit).toMatchObject({ reason: 'terminated', stderrTail: expect.stringContaining('/HOLDFAST_CHILD_') });
  });

  test.each([
    ['not mounted', unmount, 'no cgroup v2 is mounted'],
    ['read-only', `mount -o remount,ro,bind ${directory}`, `${directory} is not delegated to this user (EROFS)`],
  ])('%s, auto does without, and cgroup is an error that says so', async (_, mounts, why) => {
    const [, exit] = await run(mounts, { ...tree, options: { containment: 'auto' } });
    expect(exit).toMatchObject({ reason: 'terminated', stderrTail: expect.not.stringContaining('HOLDFAST') });
    const [error] = await run(mounts, { ...tree, options: { containment: 'cgroup' } });
    expect(error).toMatchObject({ name: 'ContainmentError', message: expect.stringContaining(why) });
  });
});

test('an unknown containment is refused by name', async () => {
  await expect(ManagedChild.spawn('true', [], { containment: 'jail' as never })).rejects.toThrow('containment');
});
