import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StreamMonitor } from '../../examples/mpeg-ts/index.ts';
import { makeRecording } from '../publisher/support.ts';
import { promisedMs } from '../support/promised.ts';
import { mulberry32 } from '../support/random.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream } from '../support/transport-stream.ts';

interface Shape {
  readonly pid?: number;
  readonly counter?: number;
  readonly payload?: boolean;
  readonly damaged?: boolean;
  readonly scrambled?: boolean;
  /** Of the adaptation field. */
  readonly flags?: number;
  /** A PES packet of this stream id begins. */
  readonly begins?: number;
}

function packet({ pid = 0x100, counter = 0, payload = true, damaged, scrambled, flags, begins }: Shape = {}): Buffer {
  const bytes = Buffer.alloc(188, 0xff);
  const hasAdaptation = flags !== undefined;
  bytes.writeUInt32BE(
    0x4700_0000 +
      (damaged ? 0x80_0000 : 0) +
      (begins === undefined ? 0 : 0x40_0000) +
      (pid << 8) +
      (scrambled ? 0x80 : 0) +
      (hasAdaptation ? 0x20 : 0) +
      (payload ? 0x10 : 0) +
      counter,
  );
  if (hasAdaptation) bytes.set([7, flags], 4);
  if (begins !== undefined) bytes.set([0, 0, 1, begins], hasAdaptation ? 12 : 4);
  return bytes;
}

const numbered = (counters: readonly number[]) => Buffer.concat(counters.map((counter) => packet({ counter })));
const errorsOf = (...slices: readonly Buffer[]) => {
  const monitor = new StreamMonitor();
  for (const slice of slices) monitor.push(slice, 0);
  return monitor.continuityErrors;
};
/** A second of a healthy stream: a clock and a picture every 100 ms. */
function second(
  monitor: StreamMonitor,
  from: number,
  change: (shape: Shape) => Shape | Buffer = (shape) => shape,
): void {
  for (let step = 0; step < 10; step++) {
    const shape = change({ counter: (from / 100 + step) & 15, flags: 0x10, begins: 0xe0 });
    const bytes = Buffer.isBuffer(shape) ? shape : packet(shape);
    monitor.push(bytes, from + 100 * step);
  }
}
const settled = () => {
  const monitor = new StreamMonitor();
  second(monitor, 0);
  return monitor;
};

describe('a stream monitor counts', () => {
  it.each<[string, number, Buffer]>([
    ['nothing in a stream whose counters go round', 0, numbered([13, 14, 15, 0, 1, 2])],
    ['a gap once', 1, numbered([0, 1, 2, 5, 6, 7])],
    ['a packet that comes twice as none', 0, numbered([0, 1, 1, 2, 3])],
    ['a packet that comes three times as one', 1, numbered([0, 1, 1, 1, 2])],
    ['a step back', 1, numbered([4, 5, 4, 5, 6])],
    [
      'no gap that the stream announces',
      0,
      Buffer.concat([numbered([0, 1, 2]), packet({ counter: 9, flags: 0x80 }), packet({ counter: 10 })]),
    ],
    [
      'a gap behind an adaptation field that announces none',
      1,
      Buffer.concat([numbered([0, 1, 2]), packet({ counter: 9, flags: 0x10 })]),
    ],
    [
      'no packet without payload, whose counter stays',
      0,
      Buffer.concat([numbered([0, 1, 2]), packet({ counter: 2, flags: 0, payload: false }), packet({ counter: 3 })]),
    ],
    [
      'a packet without payload whose counter goes on',
      1,
      Buffer.concat([numbered([0, 1, 2]), packet({ counter: 3, flags: 0, payload: false }), packet({ counter: 4 })]),
    ],
    [
      'no null packets, whatever their counters say',
      0,
      Buffer.concat([5, 1, 9, 9].map((counter) => packet({ pid: 0x1fff, counter }))),
    ],
    [
      'each PID by itself',
      1,
      Buffer.concat([
        ...[0, 1, 3].map((counter) => packet({ pid: 0x30, counter })),
        ...[7, 8, 9].map((counter) => packet({ pid: 0x31, counter })),
      ]),
    ],
  ])('%s', (_, errors, bytes) => {
    expect(errorsOf(bytes)).toBe(errors);
  });

  it('the same however the stream is cut into slices, and as the independent look does', async () => {
    const file = join(temporaryDirectory(), 'film.ts');
    await makeRecording(file);
    const whole = readFileSync(file).subarray(0, 188 * 2_000);
    // Of every 97th packet the counter is spoilt.
    const spoilt = Buffer.from(whole);
    for (let at = 0; at < spoilt.length; at += 188 * 97) spoilt[at + 3] = ((spoilt[at + 3] as number) ^ 0x04) & 0xff;
    const { continuityErrors } = inspectTransportStream(spoilt);
    expect(continuityErrors).toBeGreaterThan(10);
    expect(errorsOf(spoilt)).toBe(continuityErrors);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 20, maxLength: 200 }), (sizes) => {
        const slices: Buffer[] = [];
        let at = 0;
        for (const size of sizes) {
          slices.push(spoilt.subarray(at, at + size));
          at += size;
        }
        expect(errorsOf(...slices, spoilt.subarray(at))).toBe(continuityErrors);
      }),
      { numRuns: 30 },
    );
  });

  it('packets that their sender marks as damaged, and does not trust their counters', () => {
    const monitor = new StreamMonitor();
    monitor.push(Buffer.concat([numbered([0, 1]), packet({ counter: 9, damaged: true }), numbered([2, 3])]), 0);
    expect([monitor.damagedPackets, monitor.continuityErrors, monitor.packets]).toEqual([1, 0, 5]);
  });

  it('a loss of sync once, finds the next packets again, and takes no gap of them for an error', () => {
    const monitor = new StreamMonitor();
    monitor.push(Buffer.concat([numbered([0, 1, 2]), Buffer.alloc(1_000, 0x11), numbered([9, 10, 11, 12])]), 0);
    expect([monitor.syncLosses, monitor.continuityErrors, monitor.packets]).toEqual([1, 0, 7]);
  });

  it('nothing of a stream that begins within a packet', () => {
    const monitor = new StreamMonitor();
    monitor.push(Buffer.concat([numbered([0]).subarray(100), numbered([1, 2, 3, 4])]), 0);
    expect([monitor.syncLosses, monitor.packets]).toEqual([0, 4]);
  });

  it('and never takes what it is given for longer than it is there', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 30 }), (slices) => {
        const monitor = new StreamMonitor();
        for (const [index, slice] of slices.entries()) monitor.push(Buffer.from(slice), 50 * index);
        expect(monitor.bytes).toBe(slices.reduce((sum, { length }) => sum + length, 0));
        expect(monitor.packets * 188).toBeLessThanOrEqual(monitor.bytes);
      }),
    );
  });
});

describe('a stream is lost', () => {
  it('never while it is well', () => {
    const monitor = settled();
    for (let ms = 1_000; ms < 60_000; ms += 1_000) {
      second(monitor, ms);
      expect(monitor.trouble(ms + 999)).toBeUndefined();
    }
    expect(monitor.continuityErrors).toBe(0);
  });

  it('after a second of garbage, and not before', () => {
    const monitor = settled();
    const random = mulberry32(7);
    const garbage = () => Buffer.from(Array.from({ length: 2_000 }, () => Math.floor(256 * random())));
    for (let ms = 1_000; ms < 1_800; ms += 100) {
      monitor.push(garbage(), ms);
      expect(monitor.trouble(ms)).toBeUndefined();
    }
    for (let ms = 1_800; ms <= 2_000; ms += 100) monitor.push(garbage(), ms);
    expect(monitor.trouble(2_000)).toMatchObject({ kind: 'garbage' });
    second(monitor, 2_100);
    expect(monitor.trouble(3_000)).toBeUndefined();
  });

  it('when what never was MPEG-TS comes for a second', () => {
    const monitor = new StreamMonitor();
    for (let ms = 0; ms <= 1_000; ms += 100) monitor.push(Buffer.alloc(500, 0x20), ms);
    expect(monitor.trouble(1_000)?.kind).toBe('garbage');
  });

  it('with more errors than allowed in a window, whereas those of a single glitch are only counted', () => {
    const monitor = new StreamMonitor({ errors: 5, errorWindowMs: 2_000 });
    monitor.push(numbered([0, 2, 4, 6, 8, 10]), 0);
    expect([monitor.continuityErrors, monitor.trouble(0)]).toEqual([5, undefined]);
    monitor.push(numbered([12]), 2_001);
    expect(monitor.trouble(2_001)).toBeUndefined();
    monitor.push(numbered([14, 0, 2, 4, 6]), 2_100);
    expect(monitor.trouble(2_100)).toMatchObject({ kind: 'discontinuous' });
    expect(monitor.trouble(4_200)).toBeUndefined();
  });

  it('when all that comes is scrambled', () => {
    const monitor = settled();
    for (let ms = 1_000; ms < 4_000; ms += 1_000) second(monitor, ms, (shape) => ({ ...shape, scrambled: true }));
    expect(monitor.trouble(3_900)).toMatchObject({ kind: 'scrambled' });
    expect(monitor.scrambledPackets).toBe(30);
  });

  it('when its pictures stay away for five seconds while its sound goes on, but not one that never had any', () => {
    const [monitor, radio] = [settled(), new StreamMonitor()];
    second(radio, 0, (shape) => ({ ...shape, begins: 0xc0 }));
    for (let ms = 1_000; ms <= 7_000; ms += 1_000) {
      for (const each of [monitor, radio]) second(each, ms, (shape) => ({ ...shape, begins: 0xc0 }));
    }
    expect(monitor.trouble(7_900)).toMatchObject({ kind: 'no-video' });
    expect(radio.trouble(7_900)).toBeUndefined();
  });

  it('when it has no clock for five seconds', () => {
    const monitor = settled();
    for (let ms = 1_000; ms <= 6_000; ms += 1_000) second(monitor, ms, (shape) => ({ ...shape, flags: 0 }));
    expect(monitor.trouble(6_900)).toMatchObject({ kind: 'no-clock' });
  });

  it('by silence only as silence: nothing else gets worse while nothing comes', () => {
    const monitor = settled();
    expect(monitor.silentMs(61_000)).toBe(60_100);
    expect(monitor.trouble(61_000)).toBeUndefined();
  });

  it('no more when another begins in its place, whose counters do not follow', () => {
    const monitor = new StreamMonitor({ errors: 2 });
    monitor.push(numbered([0, 2, 4, 6]), 0);
    expect(monitor.trouble(1)?.kind).toBe('discontinuous');
    monitor.restart(10);
    monitor.push(numbered([11, 12, 13]), 10);
    expect([monitor.trouble(10), monitor.continuityErrors]).toEqual([undefined, 3]);
  });
});

it('100 MB cost a fraction of a second', () => {
  const slice = numbered(Array.from({ length: 160 }, (_, index) => index & 15));
  const monitor = new StreamMonitor();
  const begun = performance.now();
  for (let bytes = 0; bytes < 100_000_000; bytes += slice.length) monitor.push(slice, bytes / 1_000);
  const ms = performance.now() - begun;
  console.log(`monitoring 100 MB took ${ms.toFixed(0)} ms`);
  expect(monitor.continuityErrors).toBe(0);
  expect(ms).toBeLessThan(promisedMs(1_000));
});
