import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { type Tree, trees } from '../fixtures/trees.ts';
import { startDecoy, tagOf } from '../support/decoy.ts';
import { eventually } from '../support/eventually.ts';
import { hasNamespaces, pidNamespace } from '../support/namespace.ts';
import { fixtureArguments, guardOf, isRunning, processesWithMark } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';
import { endMarked, GRACE_MS, type MarkedOwner, startMarked } from '../support/survivors.ts';

const daemon = trees['double-forked daemon'] as Tree;

async function own(env: NodeJS.ProcessEnv = {}): Promise<{ owner: MarkedOwner; tag: string }> {
  const options = { containment: 'group' };
  const owner = startMarked('owner', [daemon.script, daemon.lines, GRACE_MS, 'abort', options], env);
  const pids: number[] = await owner.next();
  owner.watch(pids);
  return { owner, tag: await tagOf(pids[0] as number) };
}

/** What of a stranger may look like an owner's child. */
const disguises: Record<string, (tag: string) => string> = {
  'that has a copy of the tag': (tag) => tag,
  'that has the tag in the text of another variable': (tag) => `NOTE=see ${tag}`,
  'that has the tag on a line of its own in another variable': (tag) => `NOTE=see\n${tag}\n`,
  'whose variable begins like the tag': (tag) => tag.replace('=', '0='),
};

for (const [disguise, variable] of Object.entries(disguises)) {
  describe(`a stranger ${disguise} lives on`, () => {
    test.concurrent('when the owner ends its child, and when it is killed', async () => {
      const { owner, tag } = await own();
      await using _owner = owner;
      await using decoy = await startDecoy(variable(tag));
      owner.process.stdin?.write('now\n');
      expect(await owner.next()).toMatchObject({ reason: 'aborted' });
      expect(decoy.lives()).toBe(true);
      await owner.kill();
      await owner.expectNone();
      expect(decoy.lives()).toBe(true);
    });

    for (const [name, env] of [
      ['', {}],
      [', and the guard has no Node', { TEST_WITHOUT_NODE: 'yes' }],
    ] as const) {
      test.concurrent(`when the owner is killed while it has a child${name}`, async () => {
        const { owner, tag } = await own(env);
        await using _owner = owner;
        await using decoy = await startDecoy(variable(tag));
        const guard = guardOf(owner.pid);
        await owner.kill();
        await owner.expectNone();
        await eventually(() => expect(isRunning(guard)).toBe(false), patienceMs(20_000));
        expect(decoy.lives()).toBe(true);
      });
    }
  });
}

test('the children of another owner live on when an owner ends its own, when it is killed', async () => {
  const { owner: first } = await own();
  await using _first = first;
  const { owner: second } = await own();
  await using _second = second;
  const theirs = second.tree().map(({ pid }) => pid);
  first.process.stdin?.write('now\n');
  await first.next();
  await first.kill();
  await first.expectNone();
  expect(theirs.length).toBeGreaterThan(0);
  expect(theirs.every(isRunning)).toBe(true);
});

describe.skipIf(!hasNamespaces())(
  'a stranger that got the number of a leader that has ended, as leader of a group, lives on',
  () => {
    const stubborn = `setsid sh -c 'trap "" TERM; exec sleep 20' & sleep 0.2`;
    const cases = [
      { what: 'when the child is terminated in vain', script: 'sleep 0.1', ends: 'by itself' },
      { what: 'while what had left the group gets its grace, and is killed', script: stubborn, ends: 'by itself' },
      { what: 'when the owner is killed in that grace', script: stubborn, ends: 'killed' },
    ];
    for (const { what, script, ends } of cases) {
      test.concurrent(what, async () => {
        const namespace = await pidNamespace();
        const [decoy, tree] = [`HOLDFAST_TEST_DECOY=${randomUUID()}`, `HOLDFAST_TEST_TREE=${randomUUID()}`];
        const env = Object.fromEntries([decoy.split('=')]);
        const request = { script, env, options: { graceMs: 3_000, containment: 'group' } };
        const [program = '', ...args] = [
          ...namespace.wrapper,
          'env',
          tree,
          process.execPath,
          ...fixtureArguments('reused-number', [request]),
        ];
        const owner = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
        const lines = createInterface(owner.stdout)[Symbol.asyncIterator]();
        try {
          expect((await lines.next()).value).toBe('"reused"');
          const [stranger] = processesWithMark(decoy);
          expect(stranger).toBeDefined();
          if (ends === 'by itself') await lines.next();
          const node = processesWithMark(tree).find(({ command }) => command.includes('reused-number'))?.pid;
          process.kill(node as number, 'SIGKILL');
          await eventually(() => expect(processesWithMark(tree)).toEqual([]));
          expect(processesWithMark(decoy)).toEqual([stranger]);
        } finally {
          owner.kill('SIGKILL');
          if (owner.exitCode === null && owner.signalCode === null) await once(owner, 'exit');
          await namespace.end();
          await endMarked(decoy);
        }
      });
    }
  },
);
