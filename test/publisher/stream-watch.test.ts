import { describe, expect, it } from 'vitest';
import { StreamMonitor } from '../../examples/mpeg-ts/index.ts';
import { StreamWatch, WATCH_MS } from '../../examples/publisher/channel/stream-watch.ts';
import { loadConfig } from '../../examples/publisher/config/config.ts';

/** By default: bursts of 2 s have to fit in, and silence is to be noticed well within 3 s. */
const { failoverAfterMs } = loadConfig({}, {});
const SETTINGS = { failoverAfterMs, stallTimeoutMs: 10_000 };
type Other = 'none' | 'any' | 'well';
const has = (other: Other) => (kind: 'any' | 'well') => other === 'well' || other === kind;

/** A packet with a clock and the begin of a picture. */
function packet(counter: number): Buffer {
  const bytes = Buffer.alloc(188, 0xff);
  bytes.writeUInt32BE(0x4740_0000 + (0x100 << 8) + 0x30 + (counter & 15));
  bytes.set([7, 0x10], 4);
  bytes.set([0, 0, 1, 0xe0], 12);
  return bytes;
}

/** Looks every `WATCH_MS`, with what `slice` gives of the stream before; tells when it is to be left, and why. */
function leftAfter(other: Other, forMs: number, slice: (now: number) => Buffer | undefined) {
  const monitor = new StreamMonitor();
  const watch = new StreamWatch(monitor, SETTINGS);
  for (let now = 0; now <= forMs; now += WATCH_MS) {
    const bytes = slice(now);
    if (bytes) monitor.push(bytes, now);
    const trouble = watch.look(now, has(other));
    if (trouble) return { ms: now, why: trouble.why };
  }
  return undefined;
}

const well = (now: number) => packet(now / WATCH_MS);
/** Well for a second, then something else. */
const then = (next: (now: number) => Buffer | undefined) => (now: number) => (now < 1_000 ? well(now) : next(now));
const silence = then(() => undefined);
const garbage = then(() => Buffer.alloc(500, 1));
/** All that there is of so many milliseconds at once, now a little late and now in time. */
const burstsOf = (periodMs: number) => (now: number) => {
  const period = Math.round(now / periodMs);
  const isLate = period % 2 === 1;
  if (now !== period * periodMs + (isLate ? WATCH_MS : 0)) return undefined;
  const steps = periodMs / WATCH_MS;
  return Buffer.concat(Array.from({ length: steps }, (_, step) => packet(period * steps + step)));
};
const gaps = then((now) => Buffer.concat([0, 3, 6, 9, 12].map((step) => packet(step + now))));

describe('a source that is live is left', () => {
  it.each<[string, Other, (now: number) => Buffer | undefined, { why: string; leastMs: number; mostMs: number }]>([
    ['when nothing comes', 'any', silence, { why: 'silent', leastMs: 2_150, mostMs: 2_400 }],
    ['when garbage comes', 'any', garbage, { why: 'garbage', leastMs: 900, mostMs: 1_200 }],
    ['when too much is missing', 'well', gaps, { why: 'discontinuous', leastMs: 0, mostMs: 1_000 }],
    ['even for itself after a stall of garbage', 'none', garbage, { why: 'garbage', leastMs: 9_900, mostMs: 10_200 }],
  ])('%s (another: %s)', (_, other, slice, { why, leastMs, mostMs }) => {
    const left = leftAfter(other, 20_000, slice);
    expect(left?.why).toBe(why);
    expect((left?.ms ?? 0) - 1_000).toBeGreaterThanOrEqual(leastMs);
    expect((left?.ms ?? 0) - 1_000).toBeLessThanOrEqual(mostMs);
  });
});

describe('a source that is live is not left', () => {
  it.each<[string, Other, (now: number) => Buffer | undefined]>([
    ['while it is well', 'well', well],
    ['while it comes in bursts of a second', 'well', burstsOf(1_000)],
    ['while it comes in bursts of two seconds', 'well', burstsOf(2_000)],
    ['for silence if there is no other', 'none', silence],
    ['for a poor picture if the other has failed as well', 'any', gaps],
  ])('%s', (_, other, slice) => {
    expect(leftAfter(other, 9_000, slice)).toBeUndefined();
  });

  it('for silence before it was heard, and is for as much after the last byte, whenever that came', () => {
    const monitor = new StreamMonitor();
    const watch = new StreamWatch(monitor, SETTINGS);
    const lookAt = (now: number) => watch.look(now, has('well'));
    const bytes = Buffer.concat([0, 1, 2, 3].map(packet));
    monitor.push(bytes, 10);
    for (let now = WATCH_MS; now <= 2_200; now += WATCH_MS) expect(lookAt(now)).toBeUndefined();
    const lastAt = 2_210;
    monitor.push(bytes, lastAt);
    let now = 2_300;
    for (; now < lastAt + failoverAfterMs; now += WATCH_MS) expect(lookAt(now)).toBeUndefined();
    expect(lookAt(now)).toMatchObject({ why: 'silent' });
  });

  it('for silence while this process hung, and did not read what came', () => {
    const monitor = new StreamMonitor();
    const watch = new StreamWatch(monitor, SETTINGS);
    for (let now = 0; now < 1_000; now += WATCH_MS) {
      monitor.push(well(now), now);
      expect(watch.look(now, has('well'))).toBeUndefined();
    }
    expect(watch.look(60_000, has('well'))).toBeUndefined();
    monitor.push(well(60_050), 60_050);
    expect(watch.look(60_100, has('well'))).toBeUndefined();
  });
});
