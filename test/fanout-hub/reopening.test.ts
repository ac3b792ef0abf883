import { PassThrough } from 'node:stream';
import {
  FanoutHub,
  type FanoutReopen,
  ManagedChild,
  SourceEndedError,
  SourceStartTimeoutError,
  Supervisor,
} from 'holdfast';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { eventually, throughout } from '../support/eventually.ts';
import { readableOf, ScriptedSource, Sponge } from './support.ts';

afterEach(() => {
  vi.useRealTimers();
});

/** Streams and promises stay real; clocks and timers are the test's. */
function fakeClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
}

const ALLOWED = { allowed: true } as const;

test('a source that is over at once does not keep the process busy, live or not', async () => {
  for (const bytes of ['x', '']) {
    let openings = 0;
    const begun = performance.now();
    const hub = new FanoutHub({
      source: () => {
        openings++;
        return readableOf(bytes);
      },
      reopen: () => ALLOWED,
    });
    const { ended } = hub.pipe(new Sponge());
    await throughout(350, () => expect(openings).toBeLessThanOrEqual(1 + (performance.now() - begun) / 99));
    if (bytes) await eventually(() => expect(openings).toBeGreaterThan(1));
    await hub.close();
    await ended;
  }
});

describe('while a refusal is waited out', () => {
  /** A hub whose live source has ended, and may be opened again when the test says so. */
  async function waiting(options = {}) {
    const source = new ScriptedSource();
    const may = { reopen: false };
    const hub = new FanoutHub({
      source: source.open,
      sliceMs: 0,
      ...options,
      reopen: () => (may.reopen ? ALLOWED : { allowed: false, retryAfterMs: 60_000 }),
    });
    const sponge = new Sponge();
    const { live } = hub.pipe(sponge);
    source.write('x');
    await vi.advanceTimersByTimeAsync(200);
    await live;
    source.stream.end();
    await vi.advanceTimersByTimeAsync(1);
    expect(hub.state).toBe('opening');
    return { hub, source, may };
  }

  test('whoever comes has it asked again', async () => {
    fakeClock();
    const { hub, source, may } = await waiting();
    may.reopen = true;
    hub.pipe(new Sponge());
    expect([source.openings, hub.subscribers]).toEqual([2, 2]);
    await hub.close();
  });

  test('who came before it and has no byte yet waits no longer than for that either', async () => {
    fakeClock();
    const source = new ScriptedSource();
    const hub = new FanoutHub({
      ...{ source: source.open, sliceMs: 0, startTimeoutMs: 300, stallTimeoutMs: 400 },
      reopen: () => ({ allowed: false, retryAfterMs: 100 }),
    });
    hub.pipe(new Sponge());
    source.write('x');
    await vi.advanceTimersByTimeAsync(100);
    let name: string | undefined;
    void hub.pipe(new Sponge()).ended.then(({ error }) => {
      name = (error as Error).name;
    });
    await vi.advanceTimersByTimeAsync(600);
    expect([name, hub.subscribers]).toEqual([SourceStartTimeoutError.name, 1]);
    await hub.close();
  });

  test('each who comes waits for as long as a start may take, no longer and no shorter', async () => {
    fakeClock();
    const { hub } = await waiting({ startTimeoutMs: 1_000 });
    const ends: string[] = [];
    const join = (name: string) => {
      const { ended } = hub.pipe(new Sponge());
      void ended.then(({ error }) => ends.push(`${name}: ${(error as Error).name}`));
    };
    join('b');
    await vi.advanceTimersByTimeAsync(900);
    join('c');
    await vi.advanceTimersByTimeAsync(100);
    expect(ends).toEqual([`b: ${SourceStartTimeoutError.name}`]);
    await vi.advanceTimersByTimeAsync(899);
    expect(ends).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(ends).toEqual([`b: ${SourceStartTimeoutError.name}`, `c: ${SourceStartTimeoutError.name}`]);
    expect(hub.subscribers).toBe(1);
    await hub.close();
  });
});

describe('who comes while the source is closed', () => {
  /** Whose source takes its time to close. */
  function slowlyClosed(reopen: FanoutReopen) {
    const closed = Promise.withResolvers<void>();
    const source = new ScriptedSource();
    const hub = new FanoutHub({
      source: ({ use, ...context }) => {
        use({ [Symbol.asyncDispose]: () => closed.promise });
        return source.open({ use, ...context });
      },
      sliceMs: 0,
      reopen,
    });
    return { hub, source, close: closed.resolve };
  }

  test.each<[boolean, ReturnType<FanoutReopen>]>([
    [false, false],
    [true, false],
    [true, { allowed: false, retryAfterMs: 60_000 }],
  ])(
    'gets a fresh one, whatever reopen says of those before (they have left: %s, it says %o)',
    async (haveLeft, answer) => {
      const { hub, source, close } = slowlyClosed(() => answer);
      const first = hub.pipe(new Sponge());
      source.write('old');
      await first.live;
      source.stream.end();
      await eventually(() => expect(hub.state).toBe('closing'));
      if (haveLeft) await first[Symbol.asyncDispose]();
      const sponge = new Sponge();
      const { live } = hub.pipe(sponge);
      close();
      await eventually(() => expect(source.openings).toBe(2));
      source.write('new');
      await live;
      expect(sponge.text).toBe('new');
      expect((await first.ended).reason).toBe(haveLeft ? 'left' : 'source-ended');
      await hub.close();
    },
  );
});

describe('what a source is aborted with', () => {
  async function reasonOf(end: (hub: FanoutHub, stream: PassThrough) => unknown): Promise<unknown> {
    let signal: AbortSignal | undefined;
    const stream = new PassThrough();
    await using hub = new FanoutHub({
      source: (context) => {
        signal = context.signal;
        return stream;
      },
      stallTimeoutMs: 60_000,
    });
    const subscription = hub.pipe(new Sponge());
    stream.write('x');
    await subscription.live;
    await end(hub, stream);
    await eventually(() => expect(signal?.aborted).toBe(true));
    return signal?.reason;
  }

  test('tells that it was over by itself, with its error', async () => {
    const clean = await reasonOf((_, stream) => stream.end());
    expect(clean).toBeInstanceOf(SourceEndedError);
    expect(clean).not.toHaveProperty('cause');
    const failure = new Error('EIO');
    expect(await reasonOf((_, stream) => stream.destroy(failure))).toMatchObject({
      code: 'HOLDFAST_SOURCE_ENDED',
      cause: failure,
    });
  });

  test('or who wanted it', async () => {
    const wanted = new Error('not any more');
    expect(await reasonOf((hub) => hub.close(wanted))).toBe(wanted);
  });
});

test('a child that ends its output and lives on, under a supervisor, is restarted no more often than one that ends', async () => {
  await using supervisor = new Supervisor({ backoff: { minMs: 0, jitter: 'none' } });
  const failures: unknown[] = [];
  supervisor.on('failure', (_, error) => failures.push(error));
  let openings = 0;
  await using hub = new FanoutHub({
    source: ({ signal }) =>
      supervisor.attempt(
        'x',
        ({ signal }) => {
          openings++;
          return ManagedChild.spawn('sh', ['-c', 'echo hi; exec >&- sleep 300'], { signal, graceMs: 0 });
        },
        { signal },
      ),
    reopen: () => supervisor.canRestart('x'),
  });
  hub.pipe(new Sponge());
  await eventually(() => expect(supervisor.canRestart('x')).toMatchObject({ why: 'cooldown' }), 20_000);
  expect([openings, failures.length]).toEqual([2, 2]);
  expect(failures[0]).toBeInstanceOf(SourceEndedError);
});
