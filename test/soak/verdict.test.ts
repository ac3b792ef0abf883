import { expect, test } from 'vitest';
import type { Reading } from './readings.ts';
import { complaints, type Findings, unjudged } from './verdict.ts';

const MIB = 2 ** 20;
const limits = { maxStorms: 3, maxGrowth: 1.2 };
const quiet = { restarts: 0, storms: 0, subscribers: 10, dropped: 0, loopDelay: 0.01 };
const reading = (at: number, more: Partial<Reading> = {}): Reading => ({
  ...{ at, rssBytes: 100 * MIB, descriptors: 50, children: 3, ...quiet },
  ...more,
});
const readings = (read: (at: number) => Partial<Reading> = () => ({})) =>
  Array.from({ length: 400 }, (_, at) => reading(at, read(at)));
const audience = {
  ...{ viewers: 100, refused: { '503': 4 }, unanswered: 0, cut: 0, equalBytes: 1e9, lostBytes: 0 },
  ...{ slow: 4, slowDropped: 2 },
};
const well: Findings = {
  ...{ readings: readings(), audience, orphans: [], recursionErrors: 0 },
  ...{ warmUpSeconds: 60, seconds: 400, maxChildren: 6, unreachableAt: undefined },
};

test('all is well', () => {
  expect(complaints(well, limits)).toEqual([]);
  expect(unjudged(well)).toEqual([]);
});

test.each<[string, Partial<Findings>]>([
  ['1 recursion errors', { recursionErrors: 1 }],
  ['3 restart storms, 3 are too many', { readings: readings((at) => ({ storms: Math.floor(at / 130) })) }],
  ['2 orphans: 7, 8', { orphans: [7, 8] }],
  ['healthy viewers lost 1 bytes', { audience: { ...audience, lostBytes: 1 } }],
  ['the publisher was unreachable after 12 s', { unreachableAt: 12.3 }],
  ['7 children lived at a time, 6 are enough', { readings: readings((at) => (at === 5 ? { children: 7 } : {})) }],
  ['1 viewers had no answer', { audience: { ...audience, unanswered: 1 } }],
  ['no slow viewer was dropped', { audience: { ...audience, slowDropped: 0 } }],
  ['1 healthy viewers were cut', { audience: { ...audience, cut: 1 } }],
  ['no viewer could be compared with another', { audience: { ...audience, equalBytes: 0 } }],
  ['the memory grew from 121 MiB to 173 MiB', { readings: readings((at) => ({ rssBytes: (95 + at / 4.4) * MIB })) }],
  ['the descriptors grew from 50 to 90', { readings: readings((at) => ({ descriptors: at < 300 ? 50 : 90 })) }],
])('%s', (complaint, findings) => {
  expect(complaints({ ...well, ...findings }, limits)).toEqual([complaint]);
});

test('growth before the end of the warm-up, or by little, is none', () => {
  const early = readings((at) => ({ rssBytes: (at < 60 ? at : 100) * MIB, descriptors: 50 + at / 40 }));
  expect(complaints({ ...well, readings: early }, limits)).toEqual([]);
});

test('what there was no time for is said', () => {
  expect(unjudged({ ...well, seconds: 60, audience: { ...audience, slowDropped: 0 } })).toHaveLength(1);
  expect(unjudged({ ...well, maxChildren: Number.POSITIVE_INFINITY })).toHaveLength(1);
});
