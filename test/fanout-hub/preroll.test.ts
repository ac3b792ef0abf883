import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Preroll } from '../../src/fanout-hub/preroll.ts';

const text = (joinable: { readonly slices: readonly Buffer[]; readonly length: number } | undefined) => {
  if (!joinable) return undefined;
  const all = Buffer.concat([...joinable.slices]);
  expect(all.length).toBe(joinable.length);
  return all.toString();
};

/** The last capital letter; `<` says that its headers are two bytes before it. */
const capital = (slice: string) => {
  const at = slice.search(/[A-Z](?!.*[A-Z])/);
  if (at < 0) return undefined;
  return slice.includes('<') ? at - 2 : at;
};

describe('without join points', () => {
  test.each([
    [0, undefined],
    [1, undefined],
    [2, 'ef'],
    [5, 'cdef'],
    [6, 'abcdef'],
    [99, 'abcdef'],
  ])('of three slices of two bytes, %i bytes keep %o', (maxBytes, kept) => {
    const preroll = new Preroll(maxBytes, false);
    for (const slice of ['ab', 'cd', 'ef']) expect(text(preroll.push(Buffer.from(slice)))).toBe(slice);
    expect(text(preroll.joinable)).toBe(kept);
  });

  test('a slice larger than all that is kept leaves nothing, and the next is kept again', () => {
    const preroll = new Preroll(3, false);
    preroll.push(Buffer.from('abcd'));
    expect(preroll.joinable).toBeUndefined();
    preroll.push(Buffer.from('ef'));
    expect(text(preroll.joinable)).toBe('ef');
  });
});

describe('with join points', () => {
  test.each<[slices: string[], maxBytes: number, waiting: (string | undefined)[], kept: string | undefined]>([
    // The begin of a source is one.
    [['ab', 'cd'], 9, ['ab', undefined], 'abcd'],
    [['ab', 'cDe', 'fg'], 9, ['ab', 'De', undefined], 'Defg'],
    // The last of several.
    [['ab', 'CcDd'], 9, ['ab', 'Dd'], 'Dd'],
    // One whose headers came in the slice before, in this one, or before all that is kept.
    [['ab', 'cd', '<E'], 9, ['ab', undefined, 'd<E'], 'd<E'],
    [['ab', 'cde<F'], 9, ['ab', 'e<F'], 'e<F'],
    [['ab', 'c<', 'D'], 1, ['ab', undefined, 'D'], 'D'],
    [['ab', 'c', 'd<E'], 0, ['ab', undefined, 'd<E'], undefined],
    [['<'], 9, ['<'], '<'],
    // What is too long to be kept can't be joined but in passing.
    [['ab', 'cDe', 'fg', 'hi'], 4, ['ab', 'De', undefined, undefined], undefined],
    [['ab', 'cDe', 'fg', 'H'], 4, ['ab', 'De', undefined, 'H'], 'H'],
    [['ab', 'Cd'], 0, ['ab', 'Cd'], undefined],
  ])('%j, %i bytes kept: who waits is given %j, who comes then %j', (slices, maxBytes, waiting, kept) => {
    const preroll = new Preroll(maxBytes, true);
    expect(slices.map((slice) => text(preroll.push(Buffer.from(slice), capital(slice))))).toEqual(waiting);
    expect(text(preroll.joinable)).toBe(kept);
  });

  test('of headers that are not kept any more those who wait are given what there is', () => {
    const preroll = new Preroll(3, true);
    for (const slice of ['ab', 'cd']) preroll.push(Buffer.from(slice));
    expect(text(preroll.push(Buffer.from('E'), -3))).toBe('cdE');
    expect(text(preroll.joinable)).toBe('cdE');
  });

  test('whatever comes: what is kept is the newest, begins at a join point and is no more than allowed', () => {
    const slice = fc.stringMatching(/^[a-d]{0,3}[A-D]?[a-d]{0,3}$/).filter((each) => each !== '');
    fc.assert(
      fc.property(fc.array(slice, { minLength: 1 }), fc.nat(12), (slices, maxBytes) => {
        const preroll = new Preroll(maxBytes, true);
        let all = '';
        for (const slice of slices) {
          preroll.push(Buffer.from(slice), capital(slice));
          all += slice;
          const expected = all.slice(Math.max(0, all.search(/[A-D](?!.*[A-D])/)));
          const isKept = expected.length <= maxBytes && expected !== '';
          expect(text(preroll.joinable)).toBe(isKept ? expected : undefined);
        }
      }),
    );
  });
});
