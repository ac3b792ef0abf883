import { describe, expect, it } from 'vitest';
import { type KeptGuide, takeIn } from '../../examples/publisher/guide/guide-intake.ts';
import type { XmltvProgramme } from '../../examples/xmltv/index.ts';
import { documentOf } from '../xmltv/support.ts';
import { titlesIn } from './guide-support.ts';

const HOUR_MS = 3_600_000;
const now = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;

const named = (name: string, text: string) => ({ name, attributes: {}, children: [text] });
const head = (id: string) => ({ kind: 'channel' as const, id, elements: [named('display-name', id)] });

/** `old 3-5`: from 3 hours ahead to 5; `old 3`: without an end. */
function show(text: string, channel = 'a'): XmltvProgramme {
  const [title = '', times = ''] = text.split(' ');
  const [start, stop] = times.split('-').map((hours) => now + Number(hours) * HOUR_MS);
  const elements = [named('title', title)];
  return { kind: 'programme', channel, startMs: start as number, stopMs: stop, attributes: {}, elements };
}

async function pull(before: KeptGuide | undefined, ...items: Parameters<typeof documentOf>[0]): Promise<KeptGuide> {
  return await takeIn(bytesOf(documentOf(items)), before, { nowMs: now });
}

async function* bytesOf(text: string) {
  yield Buffer.from(text);
}

describe('what is kept of one pull after the next', () => {
  it.each<[why: string, pulls: string[][], expected: string[]]>([
    [
      'is all that the next has a hole for',
      [
        ['x 1-2', 'y 2-3', 'z 3-4'],
        ['n 1-2', 'm 3-4'],
      ],
      ['n', 'm', 'y'],
    ],
    [
      'is not ended by one programme of a far future',
      [
        ['x 1-2', 'y 2-3'],
        ['n 0-1', 'm 900-901'],
      ],
      ['n', 'm', 'x', 'y'],
    ],
    ['is nothing that overlaps what the next has', [['x 1-3', 'y 3-5', 'z 5-6'], ['n 2-4']], ['n', 'z']],
    ['is what ends where the next begins', [['x 1-2', 'y 3-4'], ['n 2-3']], ['n', 'x', 'y']],
    [
      'is no second copy of what has no end',
      [
        ['x 1', 'y 2'],
        ['x 1', 'y 2'],
        ['x 1', 'y 2'],
      ],
      ['x', 'y'],
    ],
    [
      'is no copy without an end of what has one',
      [
        ['x 1', 'y 2'],
        ['x 1-2', 'y 2-3'],
      ],
      ['x', 'y'],
    ],
    [
      'is no copy with an end of what has none',
      [
        ['x 1-2', 'y 2-3'],
        ['x 1', 'y 2'],
      ],
      ['x', 'y'],
    ],
    [
      'is what comes long after what has no end',
      [
        ['x 1-2', 'y 30-31'],
        ['n 1', 'm 50'],
      ],
      ['n', 'm', 'y'],
    ],
  ])('%s', async (_, pulls, expected) => {
    let kept: KeptGuide | undefined;
    for (const shows of pulls) kept = await pull(kept, head('a'), ...shows.map((each) => show(each)));
    expect((await titlesIn(kept as KeptGuide)).a).toEqual(expected);
    expect(kept?.programmes).toBe(expected.length);
  });

  it('is only so much as there is room for: the new document is taken in whole', async () => {
    const channels = (prefix: string) => Array.from({ length: 15_000 }, (_, index) => `${prefix}${index}`);
    const documentOfAll = (ids: string[]) => [...ids.map(head), ...ids.map((id) => show('x 1-2', id))];
    const before = await pull(undefined, ...documentOfAll(channels('old')));
    const after = await pull(before, ...documentOfAll(channels('new')));
    const ids = after.channels.map(({ id }) => id);
    expect(ids.filter((id) => id.startsWith('new'))).toHaveLength(15_000);
    expect(ids.filter((id) => id.startsWith('old'))).toHaveLength(5_000);
    expect(after.programmes).toBe(20_000);
  });
});
