import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type GuideChannel, type GuideTarget, matchChannels } from '../../examples/publisher/guide/guide-match.ts';
import { oneSchedule, type Span } from '../../examples/publisher/guide/guide-overlap.ts';

const target = (more: Partial<GuideTarget> = {}): GuideTarget => ({
  id: '5.1',
  name: 'Harbour News',
  number: '5.1',
  ...more,
});
const guide = (...channels: (readonly [id: string, ...names: string[]])[]): GuideChannel[] =>
  channels.map(([id, ...names]) => ({ id, names }));

describe('a channel of ours is found in a guide', () => {
  it.each<[why: string, ours: Partial<GuideTarget>, guide: GuideChannel[], found: string | undefined]>([
    [
      'by the id that the operator wrote',
      { guideId: 'NEWS.example' },
      guide(['5.1'], ['news.example']),
      'news.example',
    ],
    ['by no other way then', { guideId: 'gone' }, guide(['5.1', 'Harbour News']), undefined],
    ['by our id', { id: 'news' }, guide(['other', 'Harbour News'], ['News']), 'News'],
    ['by number and name before the name', {}, guide(['a', 'Harbour News'], ['b', '5.1 Harbour News']), 'b'],
    ['by its name before its number', { id: 'x' }, guide(['a', '5.1'], ['b', 'harbour  NEWS!']), 'b'],
    ['by its id in the guide that is our name', {}, guide(['HarbourNews']), 'HarbourNews'],
    ['by a name without HD', { name: 'WABC-HD', id: 'x' }, guide(['a', 'WABC']), 'a'],
    ['by a name whose HD we lack', { name: 'WABC', id: 'x' }, guide(['a', 'WABC HD']), 'a'],
    [
      'by a callsign among the names',
      { name: 'WABC-DT2', id: 'x' },
      guide(['I10.labs.example', '7 WABC', 'WABC']),
      'I10.labs.example',
    ],
    [
      'with the exact name rather than the one without HD',
      { name: 'One HD' },
      guide(['a', 'One'], ['b', 'One HD']),
      'b',
    ],
    ['by its number alone', { name: 'Unlike' }, guide(['a', '5.1']), 'a'],
    ['by a number with a dash', { name: 'Unlike' }, guide(['a', '5-1 Whatever']), 'a'],
    ['by a number before another name', { name: 'Unlike' }, guide(['a', '5.1 Whatever']), 'a'],
    ['first come first served', { id: 'x', number: null }, guide(['a', 'Harbour News'], ['b', 'Harbour News']), 'a'],
    ['with accents or without', { name: 'Télé', id: 'x' }, guide(['a', 'TELE']), 'a'],
    [
      'whose sign makes another name',
      { name: 'Sport+', id: 'x', number: null },
      guide(['a', 'Sport'], ['b', 'sport +']),
      'b',
    ],
    ['not by 15.1', { name: 'Unlike' }, guide(['a', '15.1'], ['b', '5.10']), undefined],
    [
      'not by an empty name',
      { name: '!', id: 'x', number: null },
      guide(['a', ''], ['b', '?'], ['c', 'HD']),
      undefined,
    ],
    ['not at all in an empty guide', {}, [], undefined],
  ])('%s', async (_, ours, channels, found) => {
    const all = await matchChannels([target(ours)], channels);
    expect(all.get(target(ours).id)).toBe(found);
  });
});

interface Show extends Span {
  readonly title: string;
}

/** `a1-3`: the show a from 1 to 3; `a1`: without an end. */
const schedule = (text: string): Show[] =>
  text.split(' ').flatMap((show) => {
    const [, title, start, stop] = /^([a-z])(\d+)(?:-(\d+))?$/.exec(show) ?? [];
    if (!title) return [];
    return [{ title, startMs: Number(start), ...(stop !== undefined && { stopMs: Number(stop) }) }];
  });

const shown = (shows: readonly (Show & { stopMs: number })[]) =>
  shows.map(({ title, startMs, stopMs }) => `${title}${startMs}-${stopMs}`).join(' ');

describe('one schedule of several', () => {
  it.each<[why: string, schedules: string[], expected: string]>([
    ['is that of the first', ['a1-3 b3-5', 'x1-3 y3-5'], 'a1-3 b3-5'],
    [
      'has of others what is on while the first has nothing',
      ['a1-3 b7-9', 'x1-3 y3-5 z5-7 w9-10'],
      'a1-3 y3-5 z5-7 b7-9 w9-10',
    ],
    ['has nothing that overlaps the first', ['a1-3 b5-7', 'x2-4 y4-6 z3-4'], 'a1-3 z3-4 b5-7'],
    ['is in order', ['b3-5 a1-3'], 'a1-3 b3-5'],
    ['has each begin once', ['a1-3 b1-3 c1-2'], 'a1-3'],
    ['ends what begins earlier where the next begins', ['a1-9 b3-5'], 'a1-3 b3-5'],
    ['ends what has no end where the next begins', ['a1 b3-5'], 'a1-3 b3-5'],
    ['gives the last without an end half an hour', ['a1'], 'a1-1800001'],
    ['is that of the second where the first has none', ['', 'x1-3'], 'x1-3'],
    ['asks the third last', ['a1-2', 'x3-4', 'p3-4 q4-5'], 'a1-2 x3-4 q4-5'],
  ])('%s', (_, schedules, expected) => {
    expect(shown(oneSchedule(schedules.map(schedule)))).toBe(expected);
  });

  it('never overlaps, keeps all begins of the first, and is in order', () => {
    const span = fc
      .tuple(fc.nat(100), fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }))
      .map(([startMs, length]) => ({
        startMs,
        ...(length !== undefined && { stopMs: startMs + length }),
      }));
    fc.assert(
      fc.property(fc.array(fc.array(span, { maxLength: 12 }), { minLength: 1, maxLength: 3 }), (schedules) => {
        const all = oneSchedule<Span>(schedules);
        for (const [index, { startMs, stopMs }] of all.entries()) {
          expect(stopMs).toBeGreaterThan(startMs);
          expect(startMs).toBeGreaterThanOrEqual(all[index - 1]?.stopMs ?? 0);
        }
        const begins = new Set(all.map(({ startMs }) => startMs));
        for (const { startMs } of schedules[0] ?? []) expect(begins).toContain(startMs);
      }),
    );
  });
});
