import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ChildExitError, ManagedChild, ReadyTimeoutError } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { throughout } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';

const sh = (script: string, options = {}) => ManagedChild.spawn('sh', ['-c', script], options);

describe('ready', () => {
  const digest = async (child: ManagedChild) => {
    const hash = createHash('sha256');
    for await (const chunk of child.stdout ?? []) hash.update(chunk);
    return hash.digest('hex');
  };
  const BYTES = 3_000_000;
  const expected = createHash('sha256')
    .update('0123456789'.repeat(BYTES / 10))
    .digest('hex');
  const output = `process.stdout.write('0123456789'.repeat(${BYTES / 10}))`;

  test.each(['stdout', /90123/, async () => {}] as const)('by %s consumes nothing of stdout', async (when) => {
    const child = await ManagedChild.spawn(process.execPath, ['-e', output], {
      ready: { when, timeoutMs: promisedMs(5_000) },
    });
    expect(await digest(child)).toBe(expected);
  });

  test('by a pattern looks at stderr too', async () => {
    await using child = await sh('echo listening on 80 >&2; sleep 300', {
      ready: { when: /on \d+/, timeoutMs: promisedMs(5_000) },
    });
    expect(isRunning(child.pid)).toBe(true);
  });

  test('by a pattern finds it across chunks', async () => {
    await using child = await sh('printf liste; sleep 0.05; printf ning; sleep 300', {
      ready: { when: /^listening$/g, timeoutMs: promisedMs(5_000) },
    });
    const [chunk] = await once(child.stdout as NodeJS.ReadableStream, 'data');
    expect(String(chunk)).toBe('listening');
  });

  test('by a pattern on stderr keeps what stdout said and closed before', async () => {
    const child = await sh('echo said; exec 1>&-; sleep 0.1; echo ready >&2; sleep 0.1', {
      ready: { when: /ready/, timeoutMs: promisedMs(5_000) },
    });
    expect(await text(child.stdout as Readable)).toBe('said\n');
  });

  test('that does not come in time ends the tree and says what it wrote', async () => {
    const started = sh("trap '' TERM; echo no signal >&2; while :; do sleep 0.1; done", {
      graceMs: 50,
      ready: { when: 'stdout', timeoutMs: 100 },
    });
    const error = await started.catch((e) => e);
    expect(error).toBeInstanceOf(ReadyTimeoutError);
    expect(error).toMatchObject({ retryable: true, exit: { reason: 'not-ready', signal: 'SIGKILL' } });
    expect(error.message).toContain('no signal');
  });

  test('fails at once when the child ends before, with the end of stderr', async () => {
    const error = await sh('echo no such device >&2; exit 19', { ready: { when: 'stdout', timeoutMs: 60_000 } }).catch(
      (e) => e,
    );
    expect(error).toBeInstanceOf(ChildExitError);
    expect(error.exit).toMatchObject({ code: 19 });
    expect(error.message).toContain('no such device');
  });

  test('by a function that fails ends the tree and rejects with its error', async () => {
    const failure = new Error('probe failed');
    let pid = 0;
    const when = async (child: ManagedChild) => {
      pid = child.pid;
      throw failure;
    };
    await expect(sh('sleep 300', { ready: { when, timeoutMs: promisedMs(5_000) } })).rejects.toBe(failure);
    expect(isRunning(pid)).toBe(false);
  });
});

describe('a stall', () => {
  test('is not what this process causes by a blocked event loop', async () => {
    const stallTimeoutMs = promisedMs(200);
    const child = await sh('while :; do echo on air; sleep 0.15; done', { stallTimeoutMs });
    child.stdout?.resume();
    for (let round = 0; round < 4; round++) {
      await once(child.stdout as Readable, 'data');
      // The stall watch has seen this byte when the loop stands still, and the next ones wait in the pipe.
      await new Promise((resolve) => setTimeout(resolve, stallTimeoutMs / 2));
      const end = performance.now() + 2 * stallTimeoutMs;
      while (performance.now() < end);
    }
    expect(await child.terminate()).toMatchObject({ reason: 'terminated' });
  });

  test('of stdout ends the tree, reason stalled', async () => {
    const child = await sh('echo on air; sleep 300', { stallTimeoutMs: 100 });
    child.stdout?.resume();
    expect(await child.closed).toMatchObject({ reason: 'stalled' });
  });

  test('is not what a reader causes that holds the stream back', async () => {
    const child = await ManagedChild.spawn(process.execPath, ['-e', `process.stdout.write(Buffer.alloc(1e6))`], {
      ready: { when: 'stdout', timeoutMs: 20_000 },
      stallTimeoutMs: 100,
    });
    await throughout(400, () => expect(isRunning(child.pid)).toBe(true));
    let bytes = 0;
    for await (const chunk of child.stdout ?? []) bytes += chunk.length;
    expect(bytes).toBe(1e6);
    expect(await child.closed).toMatchObject({ reason: 'exited', code: 0 });
  });

  test('is not looked for before the child is ready', async () => {
    const child = await sh('sleep 0.3; echo on air; sleep 300', {
      ready: { when: 'stdout', timeoutMs: 20_000 },
      stallTimeoutMs: 100,
    });
    child.stdout?.resume();
    expect(await child.closed).toMatchObject({ reason: 'stalled' });
  });
});
