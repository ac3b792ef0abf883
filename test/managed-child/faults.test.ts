import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Tree, trees } from '../fixtures/trees.ts';
import { eventually } from '../support/eventually.ts';
import { hasCgroups, hasNamespaces, pidNamespace } from '../support/namespace.ts';
import { guardOf, isRunning } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { GRACE_MS, type MarkedOwner, startMarked } from '../support/survivors.ts';

const GROUP = { containment: 'group' };
const daemon = trees['double-forked daemon'] as Tree;

function own({ script, lines }: Tree, does?: string, env: NodeJS.ProcessEnv = {}): MarkedOwner {
  return startMarked('owner', [script, lines, GRACE_MS, does, GROUP], env);
}

describe('no process of a tree survives its owner', () => {
  test.concurrent('that runs out of V8’s heap', async () => {
    await using owner = own(daemon, 'heap out of memory', { NODE_OPTIONS: '--max-old-space-size=40' });
    owner.watch(await owner.next());
    owner.process.stdin?.write('now\n');
    await owner.says(/heap out of memory/);
    await owner.exit;
    await owner.expectNone();
  });

  test
    .skipIf(!memoryCgroups())
    .concurrent('that the kernel kills for its memory (skipped where no memory cgroup can be made)', async () => {
      await using cgroup = limitedCgroup(200_000_000);
      await using owner = own(daemon, 'memory out of bounds', { TEST_CGROUP: cgroup.path });
      owner.watch(await owner.next());
      owner.process.stdin?.write('now\n');
      expect(await owner.exit).toBe('SIGKILL');
      await owner.expectNone();
    });

  test.skipIf(!('execve' in process)).concurrent('that replaces itself by another program (Node 23.11)', async () => {
    await using owner = own(daemon, 'execve');
    owner.watch(await owner.next());
    owner.process.stdin?.write('now\n');
    await eventually(() => expect(readFileSync(`/proc/${owner.pid}/comm`, 'utf8')).toBe('sleep\n'));
    await owner.expectNone();
    expect(isRunning(owner.pid)).toBe(true);
  });

  test.concurrent('whose guard was killed before; it lives on as long as its owner does', async () => {
    await using owner = own(daemon);
    const pids: number[] = await owner.next();
    owner.watch(pids);
    const first = guardOf(owner.pid);
    process.kill(first, 'SIGKILL');
    await eventually(() => expect(guardOf(owner.pid)).not.toBe(first));
    expect(pids.every(isRunning)).toBe(true);
    await owner.kill();
    await owner.expectNone();
  });

  test.concurrent('whose guard is stopped, as soon as that is continued', async () => {
    await using owner = own(daemon);
    const pids: number[] = await owner.next();
    owner.watch(pids);
    const guard = guardOf(owner.pid);
    process.kill(guard, 'SIGSTOP');
    try {
      await owner.kill();
      expect(pids.every(isRunning)).toBe(true);
    } finally {
      process.kill(guard, 'SIGCONT');
    }
    await owner.expectNone();
  });

  test.concurrent('whose guard finds no Node: what left the group is found by its shell', async () => {
    await using owner = own(daemon, undefined, { TEST_WITHOUT_NODE: 'yes' });
    owner.watch(await owner.next());
    await owner.kill();
    await owner.expectNone();
  });

  test
    .skipIf(!hasNamespaces())
    .concurrent('whose daemon is in the pid namespace of a stranger, whose init adopts it', async () => {
      const namespace = await pidNamespace();
      try {
        const enter = namespace.wrapper.join(' ');
        const script = `${enter} sh -c 'setsid sh -c "echo 1; exec sleep 20" & exec sleep 20' & echo $$; exec sleep 20`;
        await using owner = own({ script, lines: 2, processes: 3 });
        await owner.next();
        await owner.kill();
        await owner.expectNone();
      } finally {
        await namespace.end();
      }
    });

  for (const does of hasCgroups() ? ['process.exit()', 'SIGKILL'] : []) {
    test.concurrent(`by ${does}, if it has a cgroup, though it cleared its environment`, async () => {
      const script = `setsid env -i sh -c 'echo $$; exec sleep 20' & echo $$; exec sleep 20`;
      await using owner = startMarked('owner', [script, 2, GRACE_MS, does, { containment: 'cgroup' }]);
      const pids: number[] = await owner.next();
      owner.watch(pids);
      expect(pids).toHaveLength(2);
      if (does === 'SIGKILL') owner.process.kill(does);
      else owner.process.stdin?.write('now\n');
      await owner.exit;
      await owner.expectNone();
    });
  }

  test.concurrent('but a daemon that cleared its environment, where it has no cgroup: that is not found', async () => {
    const script = `setsid env -i sh -c 'echo $$; exec sleep 20' & echo $$; exec sleep 20`;
    await using owner = own({ script, lines: 2, processes: 1 });
    const pids: number[] = await owner.next();
    owner.watch(pids);
    const guard = guardOf(owner.pid);
    await owner.kill();
    await eventually(() => expect(isRunning(guard)).toBe(false));
    expect(pids.filter(isRunning)).toHaveLength(1);
  });

  test.concurrent('that has 500 children', async () => {
    await using owner = startMarked('many-children', [500, GROUP]);
    expect(await owner.next()).toBe(500);
    expect(owner.tree()).toHaveLength(500);
    await owner.kill();
    await owner.expectNone(promisedMs(5_000));
  }, 60_000);
});

describe('an owner within an owner', () => {
  for (const containment of ['group', 'auto']) {
    const start = () =>
      startMarked('nested-owners', [{ ...trees['grandchild in its own session'], options: { containment } }]);

    test.concurrent(`that is killed takes its tree with it (${containment})`, async () => {
      await using outer = start();
      const { inner, pids } = await outer.next();
      outer.watch([inner, ...pids]);
      process.kill(inner, 'SIGKILL');
      await outer.expectNone();
      expect(isRunning(outer.pid)).toBe(true);
    });

    test.concurrent(`ends with the outer one, with its tree (${containment})`, async () => {
      await using outer = start();
      const { inner, pids } = await outer.next();
      outer.watch([inner, ...pids]);
      await outer.kill();
      await outer.expectNone();
    });

    test.concurrent(`leaves nothing when both are killed at once (${containment})`, async () => {
      await using outer = start();
      const { inner, pids } = await outer.next();
      outer.watch([inner, ...pids]);
      process.kill(inner, 'SIGKILL');
      await outer.kill();
      await outer.expectNone();
    });
  }
});

describe('threads that own children', () => {
  const request = { ...trees['grandchild in its own session'], workers: 3, options: GROUP };

  test.concurrent('a worker that is terminated takes its trees with it, and none of another thread', async () => {
    await using owner = startMarked('owning-threads', [request]);
    const [main, first, ...others]: number[][] = await owner.next();
    owner.process.stdin?.write('now\n');
    expect(await owner.next()).toBe(1);
    await eventually(() => expect(first?.filter(isRunning)).toEqual([]), promisedMs(GRACE_MS + 1_000));
    expect([main, ...others].flat().every((pid) => pid && isRunning(pid))).toBe(true);
    await owner.kill();
    await owner.expectNone();
  });

  test.concurrent('nothing of any thread survives when the process is killed', async () => {
    await using owner = startMarked('owning-threads', [request]);
    owner.watch((await owner.next()).flat());
    await owner.kill();
    await owner.expectNone();
  });
});

test.concurrent('no handler of a signal or of the end of the process is added, in the main thread or in a worker', async () => {
  await using owner = startMarked('signal-listeners', []);
  const none = { running: [], ended: [] };
  expect(await owner.next()).toEqual([none, none]);
});

/** Where memory cgroups can be made, and what a limit is called there. */
function memoryCgroups(): { readonly directory: string; readonly limit: string } | undefined {
  const places = [
    { directory: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
    { directory: '/sys/fs/cgroup', limit: 'memory.max' },
  ];
  return places.find(({ directory, limit }) => {
    const probe = join(directory, `holdfast-test-${process.pid}-probe`);
    try {
      mkdirSync(probe);
    } catch {
      return false;
    }
    const isLimitable = existsSync(join(probe, limit));
    rmdirSync(probe);
    return isLimitable;
  });
}

function limitedCgroup(bytes: number): AsyncDisposable & { readonly path: string } {
  const { directory, limit } = memoryCgroups() as { directory: string; limit: string };
  const path = join(directory, `holdfast-test-${process.pid}`);
  mkdirSync(path);
  writeFileSync(join(path, limit), String(bytes));
  return { path, [Symbol.asyncDispose]: () => eventually(() => rmdirSync(path)) };
}
