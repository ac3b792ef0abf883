import { getDefaultHighWaterMark, PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { FanoutHubOptions } from '../../src/fanout-hub/options.ts';
import { ManagedChild } from '../../src/managed-child/managed-child.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';
import { numbered, Sponge } from './support.ts';

/** A program that writes pieces of a size to a pace, so many a millisecond, and numbers its bytes as `numbered` does. */
const WRITER = `
const { writeSync } = require('node:fs');
const [size, perMs, total, quietAt] = process.argv.slice(1).map(Number);
const mix = (place) => {
  const once = Math.imul(place ^ (place >>> 16), 0x45d9f3b);
  const twice = Math.imul(once ^ (once >>> 16), 0x45d9f3b);
  return twice ^ (twice >>> 16);
};
let written = 0;
const begun = performance.now();
const write = () => {
  const due = Math.min(total, Math.floor((performance.now() - begun) * perMs) * size);
  while (written < due) {
    const piece = Buffer.alloc(Math.min(size, total - written));
    for (let i = 0; i < piece.length; i++) piece[i] = mix(written + i);
    for (let at = 0; at < piece.length; ) {
      try { at += writeSync(1, piece, at); } catch (error) { if (error.code !== 'EAGAIN') throw error; }
    }
    written += piece.length;
    if (written === quietAt) return setInterval(() => {}, 1_000);
  }
  if (written < total) setTimeout(write, 1);
};
write();
`;

interface Writes {
  readonly size: number;
  readonly perMs: number;
  readonly total: number;
  /** It writes nothing more after so many bytes, and does not end. */
  readonly quietAt?: number;
}

/** A hub that reads such a program, and counts how often it was read, and left alone for a while. */
function hubOf({ size, perMs, total, quietAt = -1 }: Writes, options: Partial<FanoutHubOptions> = {}) {
  const counts = { reads: 0, pauses: 0 };
  const hub = new FanoutHub({
    ...{ sliceMs: 40, ...options },
    source: async ({ signal }) => {
      const args = ['-e', WRITER, '--', ...[size, perMs, total, quietAt].map(String)];
      const child = await ManagedChild.spawn(process.execPath, args, { signal, graceMs: 0 });
      child.stdout?.on('data', () => counts.reads++).on('pause', () => counts.pauses++);
      return child;
    },
  });
  return { hub, counts };
}

describe('a child that writes small pieces', () => {
  test('is read in turns, far less often than it writes, and nothing is lost or held back', async () => {
    const total = 1_316 * 2_000;
    const { hub, counts } = hubOf({ size: 1_316, perMs: 1, total });
    const sponge = new Sponge();
    const { reason, deliveredBytes } = await hub.pipe(sponge).ended;
    expect([reason, deliveredBytes]).toEqual(['source-ended', total]);
    expect(Buffer.concat(sponge.chunks).equals(numbered(0, total))).toBe(true);
    console.log(`2,000 writes: ${counts.reads} reads, ${sponge.chunks.length} slices`);
    expect(counts.reads).toBeLessThan(500);
    expect(counts.pauses).toBeGreaterThan(0);
    expect(sponge.chunks.length).toBeLessThan(150);
  });

  test.each([
    ['188 bytes, 20 a millisecond', { size: 188, perMs: 20, total: 188 * 20 * 1_000 }],
    ['1316 bytes, 40 a millisecond', { size: 1_316, perMs: 40, total: 1_316 * 40 * 500 }],
    ['a byte, 2 a millisecond', { size: 1, perMs: 2, total: 2_000 }],
    ['7 bytes, as fast as it can', { size: 7, perMs: 10_000, total: 700_000 }],
    ['64 KiB, as fast as it can', { size: 65_536, perMs: 10_000, total: 64 * 1024 * 1024 }],
  ])('of %s comes whole', async (_, writes) => {
    const { hub } = hubOf(writes, { maxLagBytes: Infinity });
    const sponge = new Sponge();
    const { reason, deliveredBytes } = await hub.pipe(sponge).ended;
    expect([reason, deliveredBytes]).toEqual(['source-ended', writes.total]);
    expect(Buffer.concat(sponge.chunks).equals(numbered(0, writes.total))).toBe(true);
  });

  test('has its last bytes delivered also if nothing more comes', async () => {
    const quietAt = 1_316 * 300;
    await using hub = hubOf({ size: 1_316, perMs: 1, total: quietAt * 2, quietAt }).hub;
    const sponge = new Sponge();
    hub.pipe(sponge);
    await eventually(() => expect(Buffer.concat(sponge.chunks)).toHaveLength(quietAt));
    expect(hub.state).toBe('live');
  });

  test('may be left between two turns, and is gone at once', async () => {
    await using hub = hubOf({ size: 1_316, perMs: 1, total: 1_316 * 1_000_000 }, { sliceMs: 1_000 }).hub;
    const subscription = hub.pipe(new Sponge());
    await subscription.live;
    await eventually(() => expect(hub.stats().bytesIn).toBeGreaterThan(1_316 * 200));
    const before = performance.now();
    await subscription[Symbol.asyncDispose]();
    await eventually(() => expect(hub.state).toBe('idle'));
    expect(performance.now() - before).toBeLessThan(promisedMs(500));
  });

  test('is read as it comes where nothing may wait', async () => {
    const total = 1_316 * 300;
    const { hub, counts } = hubOf({ size: 1_316, perMs: 0.25, total }, { sliceMs: 0 });
    const { deliveredBytes } = await hub.pipe(new Sponge()).ended;
    expect(deliveredBytes).toBe(total);
    expect(counts.pauses).toBe(0);
  });
});

test.each([
  ['reads ahead', () => new PassThrough()],
  ['keeps one object at most', () => new PassThrough({ readableObjectMode: true, readableHighWaterMark: 1 })],
  ['keeps nothing, but is no output of a child', () => new PassThrough({ highWaterMark: 1 })],
])('a stream that %s is never paused', async (_, make) => {
  const stream = make();
  await using hub = new FanoutHub({ source: () => stream, sliceMs: 40 });
  const sponge = new Sponge();
  hub.pipe(sponge);
  await eventually(() => expect(hub.state).toBe('opening'));
  for (let n = 0; n < 500; n++) {
    stream.write('x');
    if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(stream.isPaused()).toBe(false);
  }
  await eventually(() => expect(sponge.text).toHaveLength(500));
});

test('a child that is read in turns does not look as if it stalled', async () => {
  const total = 188 * 400;
  const { hub } = hubOf({ size: 188, perMs: 0.25, total }, { sliceMs: 1_000, stallTimeoutMs: promisedMs(200) });
  const { reason, deliveredBytes } = await hub.pipe(new Sponge()).ended;
  expect([reason, deliveredBytes]).toEqual(['source-ended', total]);
});

test('starting a child changes no other stream', async () => {
  const usual = getDefaultHighWaterMark(false);
  await expect(ManagedChild.spawn('/nowhere/nothing')).rejects.toThrow(/nowhere/);
  expect(getDefaultHighWaterMark(false)).toBe(usual);
  await using child = await ManagedChild.spawn('cat', [], { stdin: 'pipe' });
  expect([child.stdin?.writableHighWaterMark, child.stdout?.readableHighWaterMark]).toEqual([usual, usual]);
  const ready = { when: async () => {}, timeoutMs: 10_000 };
  await using looked = await ManagedChild.spawn('sleep', ['60'], { ready });
  expect(looked.stdout?.readableHighWaterMark).toBe(usual);
  await using other = await ManagedChild.spawn('sleep', ['60']);
  expect([other.stdout?.readableHighWaterMark, getDefaultHighWaterMark(false)]).toEqual([1, usual]);
});
