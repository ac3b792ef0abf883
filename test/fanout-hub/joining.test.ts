import { afterEach, expect, test, vi } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import { eventually } from '../support/eventually.ts';
import { Clogged, RawClient, ScriptedSource, Sponge, serve } from './support.ts';

afterEach(() => {
  vi.useRealTimers();
});

/** The last capital letter of a slice; one after `<` has its headers there. */
function capital(slice: Buffer): number | undefined {
  const at = slice.toString().search(/<?[A-Z](?!.*[A-Z])/);
  return at < 0 ? undefined : at;
}

const tick = () => new Promise((resolve) => setImmediate(resolve));

/** A hub of slices as they are written, which somebody watches already. */
async function watched(options: Omit<ConstructorParameters<typeof FanoutHub>[0], 'source'> = {}) {
  const source = new ScriptedSource();
  const hub = new FanoutHub({ source: source.open, sliceMs: 0, ...options });
  const first = new Sponge();
  hub.pipe(first);
  const write = async (...slices: string[]) => {
    for (const slice of slices) {
      source.write(slice);
      await tick();
    }
  };
  const late = () => {
    const sponge = new Sponge();
    return { sponge, subscription: hub.pipe(sponge) };
  };
  return { source, hub, first, write, late, [Symbol.asyncDispose]: () => hub.close() };
}

test('who comes late begins at once, at the last join point that was kept', async () => {
  await using here = await watched({ joinPoint: capital });
  await here.write('ab', 'cDe', 'f', 'gHi', 'j');
  const { sponge, subscription } = here.late();
  expect(sponge.text).toBe('');
  await subscription.live;
  expect(sponge.text).toBe('Hij');
  await here.write('k', 'L');
  expect([sponge.text, here.first.text]).toEqual(['HijkL', 'abcDefgHijkL']);
});

test('who waits for the opening gets everything from the first byte, whatever the join points are', async () => {
  await using here = await watched({ joinPoint: capital });
  const { sponge } = here.late();
  await here.write('ab', 'cD');
  expect([sponge.text, here.first.text]).toEqual(['abcD', 'abcD']);
});

test('without a preroll it waits for the next join point', async () => {
  await using here = await watched({ joinPoint: capital, prerollBytes: 0 });
  await here.write('aBc');
  const { sponge } = here.late();
  await here.write('d', 'e');
  expect(sponge.text).toBe('');
  await here.write('fGh', 'i');
  expect(sponge.text).toBe('Ghi');
});

test('it waits no longer than startTimeoutMs, and begins with the next slice then', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const here = await watched({ joinPoint: capital, prerollBytes: 0, startTimeoutMs: 1_000 });
  await here.write('a');
  const { sponge } = here.late();
  await vi.advanceTimersByTimeAsync(999);
  await here.write('b');
  expect(sponge.text).toBe('');
  await vi.advanceTimersByTimeAsync(1);
  await here.write('c', 'd');
  expect(sponge.text).toBe('cd');
});

test('a preroll without join points is the newest slices that fit in', async () => {
  await using here = await watched({ prerollBytes: 5 });
  await here.write('abc', 'de', 'fg');
  const { sponge, subscription } = here.late();
  await subscription.live;
  await here.write('h');
  expect(sponge.text).toBe('defgh');
});

test('one that may lag by less than was kept gets none of it', async () => {
  await using here = await watched({ joinPoint: capital });
  await here.write('Abcdef');
  const few = here.hub.subscribe({ maxLagBytes: 5 });
  await here.write('g', 'H');
  const { value } = await few[Symbol.asyncIterator]().next();
  expect(String(value)).toBe('H');
});

test('one that leaves before it is given what was kept gets nothing, and what is given is counted', async () => {
  await using here = await watched({ prerollBytes: 5 });
  await here.write('abc');
  const { sponge, subscription } = here.late();
  await subscription[Symbol.asyncDispose]();
  await tick();
  expect([sponge.text, here.hub.stats().bytesOut]).toEqual(['', 3]);
  await here.late().subscription.live;
  expect(here.hub.stats()).toMatchObject({ bytesIn: 3, bytesOut: 6, slices: 1 });
});

test('nothing is kept of a source that is over: who comes then begins with the next', async () => {
  await using here = await watched({ prerollBytes: 9, reopen: () => ({ allowed: true }) });
  await here.write('old');
  here.source.stream.end();
  await eventually(() => expect(here.source.openings).toBe(2));
  const { sponge } = here.late();
  await here.write('new');
  await here.write('er');
  expect([sponge.text, here.first.text]).toEqual(['newer', 'oldnewer']);
});

test.each<[string, (slice: Buffer) => number | undefined, RegExp]>([
  ['throws', (slice) => slice.readUInt8(99), /out of range/],
  [
    'answers what is behind the slice',
    () => 2,
    /joinPoint must answer .* below 2, the length of the slice, received 2/,
  ],
  ['answers what is no offset', () => 0.5, /received 0\.5/],
  ['answers what is no number', () => '0' as never, /received "0"/],
])('a joinPoint that %s fails the source after the slice was given', async (_, joinPoint, message) => {
  await using here = await watched({ joinPoint, align: 2 });
  const failures: unknown[] = [];
  here.hub.on('failure', (error) => failures.push(error));
  const { subscription } = here.late();
  await here.write('abc');
  const { reason, error, deliveredBytes } = await subscription.ended;
  expect([reason, deliveredBytes, here.first.text]).toEqual(['source-failed', 3, 'abc']);
  expect(error).toBeInstanceOf(RangeError);
  expect(String(error)).toMatch(message);
  expect(failures).toEqual([error]);
});

test('a joinPoint that throws at the very last slice is told as a failure', async () => {
  const joinPoint = (slice: Buffer) => (slice.length < 188 ? slice.readUInt8(999) : undefined);
  await using here = await watched({ joinPoint, align: 188 });
  const failures: unknown[] = [];
  here.hub.on('failure', (error) => failures.push(error));
  const { subscription } = here.late();
  await here.write('x'.repeat(200));
  here.source.stream.end();
  expect(await subscription.ended).toMatchObject({ reason: 'source-ended', deliveredBytes: 200 });
  await eventually(() => expect(failures).toEqual([expect.any(RangeError)]));
});

test('a joinPoint may restart the hub: nothing of the old source is kept for who comes to the next', async () => {
  let restart = () => {};
  const joinPoint = (slice: Buffer) => {
    if (slice.includes('!')) restart();
    return capital(slice);
  };
  await using here = await watched({ joinPoint });
  restart = () => void here.hub.restart();
  await here.write('a', 'B!');
  await eventually(() => expect(here.source.openings).toBe(2));
  await here.write('c');
  const { sponge } = here.late();
  await here.write('d');
  expect([sponge.text, here.first.text]).toEqual(['cd', 'aB!cd']);
});

test('one who comes late to headers that were not kept begins with what there is', async () => {
  await using here = await watched({ joinPoint: (slice) => (slice.includes('<') ? -3 : undefined), prerollBytes: 0 });
  await here.write('ab', 'cd');
  const { sponge } = here.late();
  await here.write('e', '<f', 'g');
  expect(sponge.text).toBe('<fg');
});

test('one who may lag by less than there is at each join point begins anywhere, after startTimeoutMs', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const here = await watched({ joinPoint: () => -4, startTimeoutMs: 1_000 });
  await here.write('abcdef');
  const late = here.hub.subscribe({ maxLagBytes: 4 });
  await here.write('gh');
  await vi.advanceTimersByTimeAsync(999);
  await here.write('ij');
  expect(late.lagBytes).toBe(0);
  await vi.advanceTimersByTimeAsync(1);
  await here.write('kl');
  expect(late.lagBytes).toBe(2);
});

test('a slice larger than a subscriber may lag is given to it nevertheless', async () => {
  await using here = await watched({ joinPoint: capital });
  await here.write('a');
  const late = here.hub.subscribe({ maxLagBytes: 2 });
  await here.write('Bcdefg');
  expect(late.lagBytes).toBe(6);
});

test('one who comes while a slice is given, by way of a destination, gets no byte twice', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0, prerollBytes: 100 });
  const late = new Sponge();
  const nesting = new Clogged();
  let nested = 0;
  nesting.write = () => {
    if (nested++ === 1) hub.pipe(late);
    return true;
  };
  hub.pipe(nesting);
  for (const slice of ['a', 'b', 'c']) {
    source.write(slice);
    await tick();
  }
  expect(late.text).toBe('abc');
});

test('over HTTP the second viewer has the last join point without waiting for the source', async () => {
  await using here = await watched({ joinPoint: capital });
  await using server = await serve((_request, response) => void here.hub.pipe(response));
  await here.write('x', 'Key', 'frame');
  const client = new RawClient(server.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await eventually(() => expect(client.body.toString()).toBe('Keyframe'));
});

test('what the source gives while one joins, by way of its destination, is counted for all', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0, prerollBytes: 1_000 });
  const first = new Sponge();
  hub.pipe(first);
  source.write('kept');
  await eventually(() => expect(first.text).toBe('kept'));
  const second = new Sponge();
  const write = second._write;
  second._write = (...args) => {
    if (second.text === '') source.write(' more');
    write.apply(second, args);
  };
  hub.pipe(second);
  await eventually(() => expect([first.text, second.text]).toEqual(['kept more', 'kept more']));
  expect(hub.stats()).toMatchObject({ bytesIn: 9, bytesOut: 18 });
});
