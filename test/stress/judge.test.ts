import { describe, expect, test } from 'vitest';
import type { Entry, Happening, Named } from './journal.ts';
import { isClean, judge, type Verdict } from './judge.ts';

const first = { what: 'started', process: 1, pid: 101 } as const;
const second = { what: 'started', process: 2, pid: 102 } as const;
const third = { what: 'started', process: 3, pid: 103 } as const;
const calling = (id: string, timeoutMs = 0): Happening => ({ what: 'calling', id, key: 'tuner', timeoutMs });
const acquired = (id: string, fence: number): Happening => ({ what: 'acquired', id, fence: String(fence) });
const releasing = (id: string): Happening => ({ what: 'releasing', id });
const released = (id: string): Happening => ({ what: 'released', id });
const kill = (process: number): Happening[] => [
  { what: 'killing', process },
  { what: 'dead', process },
];
const named = (pid: number, command: string, more: Partial<Named> = {}): Named => {
  return { pid, command, verified: 'kernel+meta', ...more };
};
const warned = (id: string, of: Named): Happening => ({ what: 'warned', id, of });
const refused = (id: string, holder: Named | undefined): Happening => ({ what: 'refused', id, holder });

/** The kinds of faults found in what happened, one thing per ms. */
function faultsOf(...happenings: Happening[]): string[] {
  const { faults } = judgeAll(happenings);
  return Object.entries(faults).flatMap(([kind, found]) => found.map(() => kind));
}

function judgeAll(happenings: readonly Happening[]): Verdict {
  return judge(happenings.map((happening, at): Entry => ({ at, ...happening })));
}

const firstHolds = [first, second, third, calling('1.0'), acquired('1.0', 1)];

test('a death that is told once, and refusals that name the holder, are no faults', () => {
  const verdict = judgeAll([
    ...firstHolds,
    calling('2.0'),
    refused('2.0', named(101, '1.0')),
    ...kill(1),
    calling('2.1'),
    warned('2.1', named(101, '1.0')),
    acquired('2.1', 2),
    releasing('2.1'),
    released('2.1'),
  ]);
  expect(verdict).toMatchObject({ acquired: 2, refused: 1, kills: 1, deaths: 1, warnings: 1, untold: 0 });
  expect(isClean(verdict)).toBe(true);
});

test('two tenures at once are a fault, whatever the referee says', () => {
  expect(faultsOf(...firstHolds, calling('2.0'), acquired('2.0', 2), releasing('1.0'))).toEqual(['overlap']);
  expect(faultsOf(...firstHolds, { what: 'double', id: '1.0', by: '102' })).toEqual(['double']);
});

test('one that is killed twice had the lock until the first time', () => {
  const next = [calling('2.0'), warned('2.0', named(101, '1.0')), acquired('2.0', 2)];
  expect(faultsOf(...firstHolds, { what: 'killing', process: 1 }, ...next, ...kill(1))).toEqual([]);
});

test.each<[string, Named]>([
  ['of no process of the storm', named(999, '1.0')],
  ['of one that never had the lock', named(103, '3.0')],
  ['of another attempt of the holder', named(101, '1.7')],
  ['of an orphan whose owner lives', named(999, 'sleep', { orphanOf: 101 })],
])('a name %s is a fault', (_, holder) => {
  expect(faultsOf(...firstHolds, calling('2.0'), refused('2.0', holder))).toEqual(['wrongName']);
});

test('the name of one that had released before the call is a fault', () => {
  const after = [releasing('1.0'), released('1.0'), calling('2.0'), refused('2.0', named(101, '1.0'))];
  expect(faultsOf(...firstHolds, ...after)).toEqual(['wrongName']);
});

test('who waited looks at the end: an earlier holder is a wrong name', () => {
  const waiting = [calling('2.0', 3), releasing('1.0'), released('1.0'), calling('3.0'), acquired('3.0', 2)];
  expect(faultsOf(...firstHolds, ...waiting, refused('2.0', named(101, '1.0')))).toEqual(['wrongName']);
  expect(faultsOf(...firstHolds, ...waiting, refused('2.0', named(103, '3.0')))).toEqual([]);
});

test('the name of one that got the lock only after the call is a fault', () => {
  const waiting = [calling('2.0', 60_000), calling('3.0'), refused('3.0', named(102, '2.0'))];
  const after = [releasing('1.0'), released('1.0'), acquired('2.0', 2)];
  expect(faultsOf(...firstHolds, ...waiting, ...after)).toEqual(['wrongName']);
});

test('no name is a fault', () => {
  expect(faultsOf(...firstHolds, calling('2.0'), refused('2.0', undefined))).toEqual(['unnamed']);
});

describe('the child of a dead holder', () => {
  const tied: Happening[] = [
    { what: 'tying', id: '1.0' },
    { what: 'tied', id: '1.0', child: 201 },
  ];
  const orphan = named(201, 'sleep', { orphanOf: 101 });
  const next = [calling('3.0'), warned('3.0', named(101, '1.0')), acquired('3.0', 2)];

  test('is its orphan until the next one has acquired', () => {
    expect(faultsOf(...firstHolds, ...tied, ...kill(1), calling('2.0'), refused('2.0', orphan))).toEqual([]);
    const late = [...kill(1), ...next, calling('2.0'), refused('2.0', orphan)];
    expect(faultsOf(...firstHolds, ...tied, ...late)).toEqual(['wrongName']);
  });

  test('is no orphan before, and no other process is', () => {
    expect(faultsOf(...firstHolds, ...tied, calling('2.0'), refused('2.0', orphan))).toEqual(['wrongName']);
    const other = refused('2.0', named(202, 'sleep', { orphanOf: 101 }));
    expect(faultsOf(...firstHolds, ...tied, ...kill(1), calling('2.0'), other)).toEqual(['wrongName']);
  });

  test('may hold as long as it lives: who waits for it is not passed over', () => {
    const waiting = [calling('2.0', 60_000), ...kill(1), calling('3.0'), calling('3.1')];
    const story = [...firstHolds, ...tied, ...waiting, warned('2.0', named(101, '1.0')), acquired('2.0', 2)];
    expect(judgeAll(story).waits).toMatchObject({ count: 1, max: 1 });
  });
});

test('a death that is not told is a fault', () => {
  expect(faultsOf(...firstHolds, ...kill(1), calling('2.0'), acquired('2.0', 2))).toEqual(['missingWarning']);
});

test('a death is untold without fault if who followed was killed in the middle and is told of instead', () => {
  const story = [...firstHolds, ...kill(1), calling('2.0'), ...kill(2), calling('3.0')];
  const verdict = judgeAll([...story, warned('3.0', named(102, '2.0')), acquired('3.0', 2)]);
  expect(isClean(verdict)).toBe(true);
  expect(verdict).toMatchObject({ deaths: 1, untold: 1 });
});

test('a death that is told twice is a fault', () => {
  const told = [
    calling('2.0'),
    warned('2.0', named(101, '1.0')),
    acquired('2.0', 2),
    releasing('2.0'),
    released('2.0'),
  ];
  const again = [calling('3.0'), warned('3.0', named(101, '1.0')), acquired('3.0', 3)];
  expect(faultsOf(...firstHolds, ...kill(1), ...told, ...again)).toEqual(['repeatedWarning']);
});

test('a warning of one that lives, or that has released, is a fault', () => {
  const warning = [calling('2.0'), warned('2.0', named(101, '1.0')), acquired('2.0', 2)];
  expect(faultsOf(...firstHolds, releasing('1.0'), ...warning)).toEqual(['unfoundedWarning']);
  const after = [releasing('1.0'), released('1.0'), ...kill(1), ...warning];
  expect(faultsOf(...firstHolds, ...after)).toEqual(['unfoundedWarning']);
});

test('a fence that does not grow is a fault', () => {
  const next = [releasing('1.0'), released('1.0'), calling('2.0'), acquired('2.0', 1)];
  expect(faultsOf(...firstHolds, ...next)).toEqual(['fenceNotGrown']);
});

test('an error, and a process that ends by itself, are faults', () => {
  expect(faultsOf(first, { what: 'failed', id: '1.0', error: 'EMFILE' })).toEqual(['failed']);
  expect(faultsOf(first, { what: 'dead', process: 1 })).toEqual(['crashed']);
});

test('a wait does not count the time in which the holder was stopped, nor one who was stopped', () => {
  const stop: Happening[] = [
    { what: 'stopping', process: 1 },
    { what: 'continued', process: 1 },
  ];
  const story = [...firstHolds, calling('2.0', 60_000), ...stop, releasing('1.0'), released('1.0'), acquired('2.0', 2)];
  expect(judgeAll(story).waits).toMatchObject({ count: 1, max: 4 });
  const own: Happening[] = [{ what: 'stopping', process: 2 }, ...story.slice(6)];
  expect(judgeAll([...story.slice(0, 6), ...own]).waits).toMatchObject({ count: 0 });
});

test('one that was stopped while it acquired may have had the lock: who waits meanwhile is not passed over', () => {
  const stopped: Happening[] = [first, second, calling('1.0'), { what: 'stopping', process: 1 }];
  const story = [...stopped, calling('2.0', 60_000), ...kill(1), acquired('2.0', 2)];
  expect(judgeAll(story).waits).toMatchObject({ count: 1, max: 1 });
});
