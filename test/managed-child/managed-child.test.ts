import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { inspect } from 'node:util';
import { ManagedChild, SpawnError, TreeSurvivedError } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { childrenOf, isRunning, openDescriptors } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const sh = (script: string, options = {}) => ManagedChild.spawn('sh', ['-c', script], options);

async function firstNumber(child: ManagedChild): Promise<number> {
  const [chunk] = await once(child.stdout as NodeJS.ReadableStream, 'data');
  return Number(String(chunk).split('\n')[0]);
}

describe('the exit', () => {
  test.each([
    ['exit 0', { code: 0, signal: null, reason: 'exited' }],
    ['exit 7', { code: 7, signal: null, reason: 'exited' }],
    ['kill -9 $$', { code: null, signal: 'SIGKILL', reason: 'exited' }],
    ['kill -TERM $$', { code: null, signal: 'SIGTERM', reason: 'exited' }],
  ])('of `%s` is reported as it was', async (script, expected) => {
    const child = await sh(script);
    expect(await child.exited).toMatchObject(expected);
    expect(await child.closed).toMatchObject(expected);
  });

  test('names the first cause, whatever comes after it', async () => {
    const abort = new AbortController();
    const child = await sh("trap '' TERM; echo $$; while :; do sleep 1; done", { graceMs: 100, signal: abort.signal });
    await firstNumber(child);
    abort.abort();
    const exit = await child.terminate();
    expect(exit).toMatchObject({ reason: 'aborted', signal: 'SIGKILL' });
    expect(await child.terminate('again')).toBe(exit);
  });

  test('carries the last 16 KiB of stderr, without the credentials in it', async () => {
    const child = await sh('seq 1 9999 >&2; echo cannot open http://joe:secret@tuner/auto/v5.1?token=abc >&2; exit 1');
    const { stderrTail } = await child.closed;
    expect(stderrTail.length).toBeLessThanOrEqual(16 * 1024);
    expect(stderrTail).toContain('9999\ncannot open http://***@tuner/auto/v5.1?token=***\n');
    expect(stderrTail).not.toContain('secret');
  });

  test('never begins within a password that was cut in two', async () => {
    for (let pad = 0; pad < 40; pad += 3) {
      const text = `http://admin:hunter2-hunter2@camera/1 ${'x'.repeat(16 * 1024 - pad)}\nlast words\n`;
      const child = await ManagedChild.spawn(process.execPath, ['-e', 'process.stderr.write(process.argv[1])', text]);
      const { stderrTail } = await child.closed;
      expect(stderrTail).not.toContain('hunter2');
      expect(stderrTail).toContain('last words');
    }
  }, 60_000);

  test('of the leader comes before the end of a tree whose grandchild takes longer', async () => {
    const child = await sh(`sh -c "trap '' TERM; echo; while :; do sleep 0.05; done" & read -r go; exit 4`, {
      graceMs: 200,
      stdin: 'pipe',
      ready: { when: 'stdout', timeoutMs: promisedMs(5_000) },
    });
    child.stdin?.end('go\n');
    const exited = await child.exited;
    const before = performance.now();
    expect(exited.code).toBe(4);
    expect((await child.closed).code).toBe(4);
    expect(performance.now() - before).toBeGreaterThan(50);
  });
});

test('a child that has ended by itself is not signalled by a later terminate, and keeps nothing waiting', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  const child = await sh('exit 0', { graceMs: 60_000 });
  await child.closed;
  const signals: unknown[] = [];
  const { kill } = process;
  process.kill = (...args) => {
    signals.push(args);
    return kill(...args);
  };
  try {
    expect(await child.terminate()).toMatchObject({ reason: 'exited' });
    await child[Symbol.asyncDispose]();
  } finally {
    process.kill = kill;
  }
  expect(signals).toEqual([]);
  expect(timers()).toBeLessThanOrEqual(before);
});

test('writing to a child that does not read any more is no crash', async () => {
  const child = await sh('exec 0<&-; echo; sleep 300', {
    stdin: 'pipe',
    ready: { when: 'stdout', timeoutMs: promisedMs(5_000) },
  });
  const error = await new Promise((resolve) => child.stdin?.write('x'.repeat(1_000_000), resolve));
  expect(error).toMatchObject({ code: 'EPIPE' });
  await child.terminate();
});

describe('the tree', () => {
  test('is gone when terminate resolves, those that ignore SIGTERM included, after the grace', async () => {
    const child = await sh('sh -c "trap \'\' TERM; echo \\$\\$; while :; do sleep 0.1; done" & wait', { graceMs: 150 });
    const grandchild = await firstNumber(child);
    const before = performance.now();
    await child.terminate();
    expect(performance.now() - before).toBeGreaterThanOrEqual(149);
    expect([child.pid, grandchild].filter(isRunning)).toEqual([]);
  });

  test('gets SIGKILL at once with graceMs 0', async () => {
    const child = await sh("trap '' TERM; echo $$; while :; do sleep 1; done", { graceMs: 0 });
    await firstNumber(child);
    expect(await child.terminate()).toMatchObject({ signal: 'SIGKILL', reason: 'terminated' });
  });

  test('gets the chosen signal first', async () => {
    const child = await sh("trap 'exit 5' USR1; echo $$; while :; do sleep 0.01; done", { termSignal: 'SIGUSR1' });
    await firstNumber(child);
    expect(await child.terminate()).toMatchObject({ code: 5 });
  });

  test('ends with its leader, what it left in the background included', async () => {
    const child = await sh('sleep 300 & echo $!');
    const left = await firstNumber(child);
    await child.closed;
    expect(isRunning(left)).toBe(false);
  });

  test('that is stopped is ended too', async () => {
    const child = await sh("trap 'exit 3' TERM; echo $$; while :; do sleep 0.01; done");
    await firstNumber(child);
    process.kill(child.pid, 'SIGSTOP');
    expect(await child.terminate()).toMatchObject({ code: 3 });
  });

  test('that is not gone in time is named, stays watched and is closed later', async () => {
    const child = await sh("trap '' TERM; echo $$; while :; do sleep 0.1; done", { graceMs: 300 });
    await firstNumber(child);
    const error = await child.terminate('', { timeoutMs: 50 }).catch((e) => e);
    expect(error).toBeInstanceOf(TreeSurvivedError);
    expect(error.pids).toContain(child.pid);
    expect(await child.closed).toMatchObject({ signal: 'SIGKILL' });
  });

  test('is ended by `await using` at the end of the block', async () => {
    let pid = 0;
    {
      await using child = await sh('sleep 300');
      pid = child.pid;
      expect(isRunning(pid)).toBe(true);
    }
    expect(isRunning(pid)).toBe(false);
  });
});

test('terminate asks with another signal if it is given one', async () => {
  const child = await sh("trap 'exit 3' INT; trap '' TERM; echo; while :; do sleep 0.01; done", {
    ready: { when: 'stdout', timeoutMs: promisedMs(5_000) },
  });
  expect(await child.terminate('enough', { termSignal: 'SIGINT' })).toMatchObject({ reason: 'terminated', code: 3 });
  await expect(child.terminate('again', { termSignal: 'INT' as never })).rejects.toThrow('received "INT"');
});

test('what outlives a shorter time-out than its grace is told as that', async () => {
  const child = await sh("trap '' TERM; echo; while :; do sleep 0.01; done", {
    graceMs: 400,
    ready: { when: 'stdout', timeoutMs: promisedMs(5_000) },
  });
  const error = await child.terminate('enough', { timeoutMs: 10 }).catch((e) => e);
  expect(error).toBeInstanceOf(TreeSurvivedError);
  expect(error.message).toMatch(/still lives 10 ms after it was told to end \(its grace is 400 ms\)/);
  expect(error.pids).toContain(child.pid);
  await child.closed;
});

test('what it holds may fail: nothing is left that was started, and closed resolves', async () => {
  const mark = randomUUID();
  const signal = new AbortController().signal;
  const hold = (started: () => void, end = () => {}) => ({
    signal,
    hold: () => ({ descriptors: [], started, end }),
  });
  const broken = () => {
    throw new Error('broken');
  };
  await expect(sh(`sleep 300; ${mark}`, { holds: hold(broken) })).rejects.toThrow('broken');
  expect(childrenOf(process.pid).filter(({ command }) => command.includes(mark))).toEqual([]);
  const child = await sh('exit 0', { holds: hold(() => {}, broken) });
  expect(await child.closed).toMatchObject({ code: 0 });
});

describe('an abort', () => {
  test('before the start rejects with its reason and starts nothing', async () => {
    const reason = new Error('never mind');
    const mark = randomUUID();
    await expect(sh(`sleep 300; ${mark}`, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(childrenOf(process.pid).filter(({ command }) => command.includes(mark))).toEqual([]);
  });

  test('while it is not ready rejects with its reason when the tree is gone', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    let pid = 0;
    const when = async (child: ManagedChild) => {
      pid = child.pid;
      abort.abort(reason);
      await new Promise(() => {});
    };
    await expect(sh('sleep 300', { signal: abort.signal, ready: { when, timeoutMs: promisedMs(5_000) } })).rejects.toBe(
      reason,
    );
    expect(isRunning(pid)).toBe(false);
  });

  test('of a signal that many children shared leaves no listener on it', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    for (const child of await Promise.all([sh('exit 0', { signal }), sh('exit 0', { signal })])) await child.closed;
    expect(listeners).toBe(0);
  });
});

describe('what can not be started', () => {
  test.each([
    ['a program that is missing', () => ManagedChild.spawn('/nowhere/ffmpeg'), 'ENOENT'],
    ['a working directory that is missing', () => sh('true', { cwd: '/nowhere' }), 'ENOENT'],
    ['arguments beyond the limit', () => ManagedChild.spawn('true', ['x'.repeat(4_000_000)]), 'E2BIG'],
  ])('%s is a SpawnError with its cause', async (_, start, code) => {
    const error = await start().catch((e) => e);
    expect(error).toBeInstanceOf(SpawnError);
    expect(error).toMatchObject({ code: 'HOLDFAST_SPAWN', retryable: false, cause: { code } });
    expect(error.message).toContain(code);
  });

  test('for want of its working directory says so', async () => {
    const error = await sh('true', { cwd: '/etc/passwd' }).catch((e) => e);
    expect(error.message).toBe('cannot start sh: its cwd is no directory that can be entered: /etc/passwd (ENOTDIR)');
  });

  test('does not show the passwords in its arguments', async () => {
    const error = await ManagedChild.spawn('/nowhere/ffmpeg', ['-i', 'rtsp://admin:hunter2@camera/1']).catch((e) => e);
    expect(inspect(error)).not.toContain('hunter2');
  });

  test('arguments that are no list of strings are refused by name', async () => {
    await expect(ManagedChild.spawn('sh', '-c' as never)).rejects.toThrow('args must be an array of strings');
    await expect(ManagedChild.spawn('sh', ['-c', 5] as never)).rejects.toThrow('args[1] must be a string');
    await expect(ManagedChild.spawn('')).rejects.toThrow('command must be a string that is not empty');
  });

  test('a file that is not executable is a SpawnError that says so', async () => {
    const path = join(temporaryDirectory(), 'ffmpeg');
    writeFileSync(path, '');
    chmodSync(path, 0o644);
    await expect(ManagedChild.spawn(path)).rejects.toThrow('not executable for this user (EACCES)');
  });

  test.each([
    [{ graceMs: -1 }, RangeError, 'graceMs must be a number from 0 to 2147483647, received -1'],
    [{ graceMs: '5s' }, TypeError, 'graceMs must be a number, received "5s"'],
    [{ graceMs: Number.POSITIVE_INFINITY }, RangeError, 'graceMs'],
    [{ stallTimeoutMs: 0 }, RangeError, 'stallTimeoutMs'],
    [{ ready: { when: 'soon', timeoutMs: 1 } }, TypeError, 'ready.when'],
    [{ ready: { when: 'stdout', timeoutMs: 0 } }, RangeError, 'ready.timeoutMs'],
    [{ ready: { when: 'stdout', timeoutMs: 5 }, stdout: 'ignore' }, TypeError, 'ready.when'],
    [{ stallTimeoutMs: 5, stdout: 'ignore' }, TypeError, 'stallTimeoutMs'],
    [
      { stdout: 'capture' },
      TypeError,
      `stdout must be 'pipe', 'ignore', 'inherit' or the number of an open descriptor`,
    ],
    [{ cwd: '' }, TypeError, 'cwd must be a path or a file: URL, received ""'],
    [{ cwd: new URL('http://x/') }, TypeError, 'cwd must be a path or a file: URL, received http:'],
    [{ env: null }, TypeError, 'env must be an object, received null'],
    [{ env: { A: 1 } }, TypeError, 'env.A must be a string, received number'],
    [{ env: { 'A=B': '' } }, TypeError, 'env must not have a variable named "A=B"'],
    [{ env: { A: 'a\0b' } }, TypeError, 'env.A must not contain a null character'],
    [null, TypeError, 'the options of ManagedChild.spawn must be an object, received null'],
    ['all', TypeError, 'the options of ManagedChild.spawn must be an object, received "all"'],
    [{ termSignal: 'TERM' }, TypeError, 'termSignal'],
    [{ termSignal: 'SIGNOPE' }, TypeError, 'termSignal'],
    [{ signal: {} }, TypeError, 'signal must be an AbortSignal'],
    [{ stdin: Number.POSITIVE_INFINITY }, RangeError, 'stdin'],
    [{ holds: {} }, TypeError, 'holds must be a SourceLock'],
    [{ timeout: 5 }, TypeError, 'has no option timeout'],
  ])('the option %j is refused by name', async (options, type, message) => {
    const error = await sh('true', options as object).catch((e) => e);
    expect(error).toBeInstanceOf(type);
    expect(error.message).toContain(message);
  });
});

/** A process in a session of its own and without a variable: only a cgroup would find it. */
const unseen = (script: string) =>
  sh(`setsid env -i /bin/sh -c "echo \\$\\$; ${script}" & sleep 0.2`, { containment: 'group' });

test('stdout ends although a process that left the tree unseen keeps it open', async () => {
  const child = await unseen('exec sleep 300');
  const escaped = await firstNumber(child);
  try {
    for await (const _ of child.stdout ?? []);
    expect(isRunning(escaped)).toBe(true);
  } finally {
    process.kill(escaped, 'SIGKILL');
  }
});

test('stdout that was given up does not fall over what is written to it later', async () => {
  const child = await unseen('sleep 1; echo late; exec sleep 300');
  let output = '';
  const read = () => {
    output += child.stdout?.read() ?? '';
  };
  child.stdout?.on('readable', read);
  const escaped = Number(
    await eventually(() => {
      expect(output).toMatch(/^\d+\n/);
      return output;
    }),
  );
  await once(child.stdout as Readable, 'end');
  try {
    await child.closed;
    await eventually(() => expect(child.stdout?.closed).toBe(true));
  } finally {
    process.kill(escaped, 'SIGKILL');
  }
});

test('100 children leave no descriptor open', async () => {
  await (await sh('exit 0')).closed;
  const before = openDescriptors();
  for (let round = 0; round < 10; round++) {
    const children = await Promise.all(Array.from({ length: 10 }, () => sh('echo out; echo err >&2')));
    await Promise.all(children.map((child) => child.closed));
  }
  await eventually(() => expect(openDescriptors()).toBeLessThanOrEqual(before));
});
