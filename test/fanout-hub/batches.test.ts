import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { FanoutHubOptions } from '../../src/fanout-hub/options.ts';
import { eventually } from '../support/eventually.ts';
import { Clogged, ScriptedSource, Sponge } from './support.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** More than are written to in one turn of the event loop. */
async function crowd(options: Partial<FanoutHubOptions> = {}) {
  const source = new ScriptedSource();
  const hub = new FanoutHub({ source: source.open, sliceMs: 0, ...options });
  const sponges = Array.from({ length: 1_000 }, () => new Sponge());
  const subscriptions = sponges.map((sponge) => hub.pipe(sponge));
  const texts = () => [...new Set(sponges.map(({ text }) => text))];
  const [first, last] = [sponges[0] as Sponge, sponges.at(-1) as Sponge];
  return { source, hub, subscriptions, first, last, texts, [Symbol.asyncDispose]: () => hub.close() };
}

type Crowd = Awaited<ReturnType<typeof crowd>>;

/** Writes, and goes on when the first of the crowd has it, but not the last. */
async function begin({ source, first, last }: Crowd, text: string): Promise<void> {
  const before = first.text;
  source.write(text);
  while (first.text === before) await turn();
  expect(last.text).toBe(before);
}

test('while a slice goes to many, the event loop turns', async () => {
  await using here = await crowd();
  await begin(here, 'a');
  await eventually(() => expect(here.texts()).toEqual(['a']));
});

test('the next slice comes to nobody before that one', async () => {
  await using here = await crowd();
  let text = '';
  for (const letter of 'abcdef') {
    await begin(here, letter);
    here.source.write(letter.toUpperCase());
    text += letter + letter.toUpperCase();
    await eventually(() => expect(here.first.text).toBe(text));
  }
  await eventually(() => expect(here.texts()).toEqual([text]));
});

test.each<[string, (source: ScriptedSource) => void, string]>([
  ['ends', (source) => void source.stream.end(), 'source-ended'],
  ['fails', (source) => void source.stream.destroy(new Error('gone')), 'source-failed'],
])('a source that %s in the midst of it leaves nobody without it', async (_, end, expected) => {
  await using here = await crowd();
  await begin(here, 'a');
  end(here.source);
  const ends = await Promise.all(here.subscriptions.map(({ ended }) => ended));
  expect(here.texts()).toEqual(['a']);
  expect(new Set(ends.map(({ reason, deliveredBytes }) => `${reason} ${deliveredBytes}`))).toEqual(
    new Set([`${expected} 1`]),
  );
});

const restart = async ({ hub, source }: Crowd): Promise<void> => {
  const restarted = hub.restart();
  await eventually(() => expect(source.openings).toBe(2));
  source.write('b');
  await restarted;
};
const close = ({ hub }: Crowd): Promise<void> => hub.close();

test.each([
  ['restarted', restart, 'ab'],
  ['closed', close, 'a'],
] as const)('a hub that is %s in the midst of it gives it to everyone first', async (_, then, expected) => {
  await using here = await crowd();
  await begin(here, 'a');
  await then(here);
  await eventually(() => expect(here.texts()).toEqual([expected]));
});

test('who comes in the midst of it has it once, or not at all', async () => {
  for (const [prerollBytes, expected] of [
    [10, 'abc'],
    [0, 'c'],
  ] as const) {
    await using here = await crowd({ prerollBytes });
    await begin(here, 'a');
    await eventually(() => expect(here.last.text).toBe('a'));
    await begin(here, 'b');
    const late = new Sponge();
    here.hub.pipe(late);
    await eventually(() => expect(here.last.text).toBe('ab'));
    here.source.write('c');
    await eventually(() => expect(here.texts()).toEqual(['abc']));
    expect(late.text).toBe(expected);
  }
});

test('who comes right before a slice has it once, although it has what was kept before its turn', async () => {
  const source = new Readable({ read() {} });
  await using hub = new FanoutHub({ source: () => source, sliceMs: 0, prerollBytes: 10 });
  for (let n = 0; n < 1_000; n++) hub.pipe(new Sponge());
  await turn();
  source.push('a');
  await eventually(() => expect(hub.stats().bytesOut).toBe(1_000));
  const late = new Sponge();
  hub.pipe(late);
  source.push('b');
  await eventually(() => expect(hub.stats().bytesOut).toBe(2_000 + 'ab'.length));
  expect(late.text).toBe('ab');
});

test('who leaves in the midst of it gets no more, and nobody else notices', async () => {
  await using here = await crowd();
  await begin(here, 'a');
  await here.subscriptions.at(-1)?.[Symbol.asyncDispose]();
  await eventually(() => expect(here.hub.stats()).toMatchObject({ bytesIn: 1, bytesOut: 999, subscribers: 999 }));
  expect([here.texts().sort(), here.last.text, here.last.destroyed]).toEqual([['', 'a'], '', false]);
});

test('what comes when one is told to lag comes to all, in order', async () => {
  await using here = await crowd({ maxLagBytes: 3 });
  const { source, hub } = here;
  const clogged = new Clogged();
  clogged.on('error', () => {});
  hub.pipe(clogged);
  hub.once('lag', () => {
    source.write('X');
    source.write('Y');
  });
  let text = '';
  for (const letters of ['aa', 'bb', 'cc']) {
    source.write(letters);
    text += letters;
    await eventually(() => expect(here.first.text).toBe(text));
    await eventually(() => expect(here.last.text.startsWith(text)).toBe(true));
  }
  await eventually(() => expect(here.texts()).toEqual(['aabbccXY']));
  expect(hub.stats()).toMatchObject({ lagged: 1, bytesOut: 8 * 1_000 + 4 });
});
