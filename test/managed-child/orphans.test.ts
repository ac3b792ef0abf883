import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { ManagedChild, type Orphan } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { type Tree, trees } from '../fixtures/trees.ts';
import { hasNamespaces, ownPids } from '../support/namespace.ts';
import { fixtureArguments, isRunning, startFixture } from '../support/processes.ts';
import { GRACE_MS, startMarked } from '../support/survivors.ts';

interface Abandoned {
  readonly owner: number;
  /** What ran when its owner and the guard were dead. */
  readonly left: readonly number[];
  /** By the sweep of the next start. */
  readonly found: readonly Orphan[];
  /** What ran then. */
  readonly survivors: readonly number[];
  /** Of the owner. */
  readonly cgroups: readonly string[];
  /** A stranger that has a copy of the tag. */
  readonly decoy: number;
  readonly decoyLives: boolean;
}

type Kill = boolean | 'of the owner' | 'of others';

async function abandon({ script, lines }: Tree, containment: string, kill: Kill = true): Promise<Abandoned> {
  const args = fixtureArguments('abandoned', [{ script, lines, containment, kill }]);
  const [program = '', ...rest] = [...ownPids, process.execPath, ...args];
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const { value } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  await exit;
  return JSON.parse(value);
}

const sorted = (pids: readonly number[]) => [...pids].sort((a, b) => a - b);
const daemon = trees['double-forked daemon'] as Tree;

describe.skipIf(!hasNamespaces())('what an owner left that was killed together with its guard', () => {
  for (const [name, tree] of Object.entries(trees)) {
    for (const containment of ['group', 'auto']) {
      test.concurrent(`(${name}, ${containment}) is ended by the next start’s sweep`, async () => {
        const { owner, left, found, survivors, cgroups, decoy } = await abandon(tree, containment);
        const orphans = found.filter(({ pid }) => pid !== decoy);
        expect(survivors).toEqual([]);
        expect(orphans.length).toBeGreaterThan(0);
        expect(orphans.every(({ ended, ownerPid }) => ended && ownerPid === owner)).toBe(true);
        if (name !== 'continuous forker') expect(sorted(orphans.map(({ pid }) => pid))).toEqual(sorted(left));
        expect(cgroups).toEqual([]);
      });
    }
  }

  test.concurrent('is only listed unless it is to be killed', async () => {
    const { left, found, survivors, decoy } = await abandon(daemon, 'group', false);
    expect(sorted(found.map(({ pid }) => pid).filter((pid) => pid !== decoy))).toEqual(sorted(left));
    expect(found.some(({ ended }) => ended)).toBe(false);
    expect(sorted(survivors)).toEqual(sorted(left));
  });

  for (const containment of ['group', 'auto']) {
    test.concurrent(`(${containment}) is ended with all that it starts meanwhile if a function chooses its owner`, async () => {
      const forker = trees['continuous forker'] as Tree;
      const { found, survivors, cgroups } = await abandon(forker, containment, 'of the owner');
      expect(found.every(({ ended }) => ended)).toBe(true);
      expect(found.length).toBeGreaterThan(0);
      expect(survivors).toEqual([]);
      expect(cgroups).toEqual([]);
    });

    test.concurrent(`(${containment}) is listed and lives on if a function chooses others`, async () => {
      const { left, found, survivors, decoy } = await abandon(daemon, containment, 'of others');
      expect(sorted(found.map(({ pid }) => pid).filter((pid) => pid !== decoy))).toEqual(sorted(left));
      expect(found.some(({ ended }) => ended)).toBe(false);
      expect(sorted(survivors)).toEqual(sorted(left));
    });
  }

  const scrubbed: Tree = {
    script: `setsid env -i sh -c 'echo $$; exec sleep 20' & echo $$; exec sleep 20`,
    lines: 2,
    processes: 1,
  };

  test.concurrent('is ended though it cleared its environment, by its cgroup', async () => {
    const { found, survivors, cgroups } = await abandon(scrubbed, 'cgroup');
    expect(found.length).toBeGreaterThanOrEqual(2);
    expect(survivors).toEqual([]);
    expect(cgroups).toEqual([]);
  });

  test.concurrent('is not found if it cleared its environment and has no cgroup', async () => {
    const { found, survivors } = await abandon(scrubbed, 'group');
    expect(survivors).toHaveLength(1);
    expect(found.map(({ pid }) => pid)).not.toContain(survivors[0]);
  });

  test.concurrent('is told from a stranger that has a copy of the tag: that lives on', async () => {
    const { decoy, found, decoyLives } = await abandon(daemon, 'group');
    expect(found.map(({ pid }) => pid)).not.toContain(decoy);
    expect(decoyLives).toBe(true);
  });
});

test('nothing of an owner that lives is an orphan', async () => {
  await using owner = startMarked('owner', [daemon.script, daemon.lines, GRACE_MS, null, { containment: 'auto' }]);
  const pids: number[] = await owner.next();
  const next = startFixture('sweeping', [{ kill: false }]);
  const found: Orphan[] = await next.next();
  await next.exit;
  expect(found.filter(({ ownerPid }) => ownerPid === owner.pid)).toEqual([]);
  expect(pids.every(isRunning)).toBe(true);
});

test.each([1, 'yes', null])('kill must be a boolean or a function, not %j', async (kill) => {
  await expect(ManagedChild.sweepOrphans({ kill: kill as never })).rejects.toThrow(
    /^kill must be a boolean or a function/,
  );
});
