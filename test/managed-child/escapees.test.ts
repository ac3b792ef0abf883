import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { ManagedChild } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { hasCgroups } from '../support/namespace.ts';
import { isRunning, processesWithMark } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { startMarked } from '../support/survivors.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const leaving = 'setsid sh -c "echo \\$\\$; exec sleep 20" &';

async function start(script: string, lines: number, options: object): Promise<{ child: ManagedChild; pids: number[] }> {
  const child = await ManagedChild.spawn('sh', ['-c', script], { graceMs: 5_000, stdin: 'pipe', ...options });
  const pids: number[] = [];
  for await (const line of createInterface(child.stdout as Readable)) {
    pids.push(Number(line));
    if (pids.length === lines) break;
  }
  return { child, pids };
}

for (const containment of ['group', 'auto']) {
  describe(`the processes that left the group (${containment})`, () => {
    const script = `${leaving} ${leaving} sleep 20 & echo $!; read -r _`;

    test('are counted when the child is terminated', async () => {
      const { child, pids } = await start(script, 3, { containment });
      expect(await child.terminate()).toMatchObject({ reason: 'terminated', escapees: 2 });
      expect(pids.filter(isRunning)).toEqual([]);
    });

    test('are counted on abort', async () => {
      const abort = new AbortController();
      const { child, pids } = await start(script, 3, { containment, signal: abort.signal });
      abort.abort();
      expect(await child.closed).toMatchObject({ reason: 'aborted', escapees: 2 });
      expect(pids.filter(isRunning)).toEqual([]);
    });

    test('are counted when the leader ends by itself, after it was told that it has', async () => {
      const { child, pids } = await start(script, 3, { containment });
      child.stdin?.end('\n');
      expect(await child.exited).toMatchObject({ code: 0, escapees: 0 });
      expect(await child.closed).toMatchObject({ code: 0, reason: 'exited', escapees: 2 });
      expect(pids.filter(isRunning)).toEqual([]);
    });

    test('are none where nobody left it', async () => {
      const { child } = await start('sleep 20 & echo $!; read -r _', 1, { containment });
      expect(await child.terminate()).toMatchObject({ escapees: 0 });
    });
  });
}

/** A daemon that writes down each request to end, and ends thereupon if it is polite. */
function daemon(path: string, isPolite: boolean): string {
  const note = `open my $f, ">>", "${path}"; print $f "TERM\\n"; close $f; ${isPolite ? 'exit' : ''}`;
  return `setsid perl -e '$| = 1; $SIG{TERM} = sub { ${note} }; print "$$\\n"; sleep 1 for 1 .. 20' & exec sleep 20`;
}

const GRACE_MS = 1_000;
for (const containment of ['group', 'auto']) {
  describe(`a daemon (${containment})`, () => {
    test.concurrent('that ends when it is asked to is not killed, and not waited for longer', async ({
      onTestFinished,
    }) => {
      const path = join(temporaryDirectory(onTestFinished), 'told');
      const { child, pids } = await start(daemon(path, true), 1, { containment, graceMs: 20_000 });
      const before = performance.now();
      expect(await child.terminate()).toMatchObject({ escapees: 1 });
      expect(performance.now() - before).toBeLessThan(promisedMs(2_000));
      expect(pids.filter(isRunning)).toEqual([]);
      expect(readFileSync(path, 'utf8')).toBe('TERM\n');
    });

    test.concurrent('that does not is asked once, gets its grace, and is killed', async ({ onTestFinished }) => {
      const path = join(temporaryDirectory(onTestFinished), 'told');
      const { child, pids } = await start(daemon(path, false), 1, { containment, graceMs: GRACE_MS });
      const before = performance.now();
      const end = child.terminate();
      await once(child.stdout as Readable, 'close');
      await end;
      expect(performance.now() - before).toBeGreaterThanOrEqual(GRACE_MS - 1);
      expect(pids.filter(isRunning)).toEqual([]);
      expect(readFileSync(path, 'utf8')).toBe('TERM\n');
    });

    test.concurrent('that ends when it is asked to is asked also if its owner is killed', async ({
      onTestFinished,
    }) => {
      const path = join(temporaryDirectory(onTestFinished), 'told');
      await using owner = startMarked('owner', [daemon(path, true), 1, 10_000, null, { containment }]);
      owner.watch(await owner.next());
      await owner.kill();
      await owner.expectNone(promisedMs(2_000));
      expect(readFileSync(path, 'utf8')).toBe('TERM\n');
    });

    test.concurrent('that does not is asked once and gets its grace also if its owner is killed', async ({
      onTestFinished,
    }) => {
      const path = join(temporaryDirectory(onTestFinished), 'told');
      await using owner = startMarked('owner', [daemon(path, false), 1, GRACE_MS, null, { containment }]);
      const [, pid]: number[] = await owner.next();
      owner.watch([pid as number]);
      const before = performance.now();
      await owner.kill();
      await eventually(() => expect(existsSync(path)).toBe(true));
      await eventually(() => expect(isRunning(pid as number)).toBe(false), promisedMs(GRACE_MS + 2_000));
      expect(performance.now() - before).toBeGreaterThan(GRACE_MS - 20);
      expect(readFileSync(path, 'utf8')).toBe('TERM\n');
      await owner.expectNone();
    });
  });
}

test('a daemon that ignores TERM is not forgotten when the child is terminated in the moment of its end', async () => {
  const script = `setsid sh -c 'trap "" TERM; echo $$; exec sleep 20' & read -r _`;
  const { child, pids } = await start(script, 1, { containment: 'group', graceMs: 200 });
  child.stdin?.end('\n');
  await child.exited;
  expect(await child.terminate()).toMatchObject({ escapees: 1 });
  expect(pids.filter(isRunning)).toEqual([]);
});

test('a process that forks, exits and ignores TERM all the time is waited for, and killed', async () => {
  const hop = 'select undef, undef, undef, 0.002; exit if fork;';
  const script = `perl -e '$| = 1; $SIG{TERM} = "IGNORE"; print "$$\\n"; $end = time + 20; while (time < $end) { ${hop} }' & read -r _`;
  const mark = { HOLDFAST_TEST_TREE: randomUUID() };
  const { child } = await start(script, 1, { containment: 'group', graceMs: 500, env: { ...process.env, ...mark } });
  child.stdin?.end('\n');
  await child.closed;
  const left = () => processesWithMark(`HOLDFAST_TEST_TREE=${mark.HOLDFAST_TEST_TREE}`);
  expect([left(), left(), left(), left()].flat()).toEqual([]);
});

test.runIf(hasCgroups())('a daemon that cleared its environment is ended with a cgroup', async () => {
  const script = `setsid env -i sh -c 'echo $$; exec sleep 20' & exec sleep 20`;
  const { child, pids } = await start(script, 1, { containment: 'cgroup' });
  expect(await child.terminate()).toMatchObject({ escapees: 1 });
  expect(pids.filter(isRunning)).toEqual([]);
});

test('a daemon that cleared its environment is not found without a cgroup', async () => {
  const script = `setsid env -i sh -c 'echo $$; exec sleep 20' & exec sleep 20`;
  const { child, pids } = await start(script, 1, { containment: 'group' });
  try {
    expect(await child.terminate()).toMatchObject({ escapees: 0 });
    expect(pids.map(isRunning)).toEqual([true]);
  } finally {
    process.kill(pids[0] as number, 'SIGKILL');
  }
});
