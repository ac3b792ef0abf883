import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { FanoutHubOptions } from '../../src/fanout-hub/options.ts';

const source = () => new PassThrough();

describe('options', () => {
  test.each([
    [undefined, TypeError, /source must be a function, received undefined/],
    [{}, TypeError, /source must be a function, received undefined/],
    [{ source: 'tuner' }, TypeError, /source/],
    [{ source, name: '' }, TypeError, /name .*""/],
    [{ source, reopen: true }, TypeError, /reopen must be a function/],
    [{ source, startTimeoutMs: 0 }, RangeError, /startTimeoutMs .*received 0/],
    [{ source, startTimeoutMs: '10' }, TypeError, /startTimeoutMs .*"10"/],
    [{ source, startTimeoutMs: null }, TypeError, /startTimeoutMs .*null/],
    [{ source, stallTimeoutMs: -1 }, RangeError, /stallTimeoutMs .*-1/],
    [{ source, closeAfterMs: Number.NaN }, RangeError, /closeAfterMs .*NaN/],
    [{ source, sliceMs: 1001 }, RangeError, /sliceMs .*1001/],
    [{ source, maxLagBytes: 0.5 }, RangeError, /maxLagBytes .*0\.5/],
    [{ source, maxLagMs: 0 }, RangeError, /maxLagMs .*received 0/],
    [{ source, onLag: 'pause' }, TypeError, /onLag must be "disconnect" or "skip", received "pause"/],
    [{ source, align: 0 }, RangeError, /align .*received 0/],
    [{ source, align: 1.5 }, RangeError, /align .*1\.5/],
    [{ source, maxSubscribers: 0 }, RangeError, /maxSubscribers .*received 0/],
    [{ source, joinPoint: 188 }, TypeError, /joinPoint must be a function, received number/],
    [{ source, prerollBytes: -1 }, RangeError, /prerollBytes .*-1/],
    [{ source, prerollBytes: 0.5 }, RangeError, /prerollBytes .*0\.5/],
    [
      { source, prerollBytes: 5, maxLagBytes: 9 },
      RangeError,
      /prerollBytes .*half of maxLagBytes, which is 9, received 5/,
    ],
    [{ source, prerollBytes: Infinity, maxLagBytes: Infinity }, RangeError, /prerollBytes .*finite.*received Infinity/],
    [{ source, preroll: 1 }, TypeError, /no option preroll;/],
  ])('%o is refused by name and value', (options, type, message) => {
    const make = () => new FanoutHub(options as FanoutHubOptions);
    expect(make).toThrow(type);
    expect(make).toThrow(message);
  });

  test('a subscription refuses unknown options, bad values and what is no byte stream', () => {
    const hub = new FanoutHub({ source });
    const any = (value: unknown) => value as never;
    expect(() => hub.pipe(any(undefined))).toThrow(/destination must be a Writable/);
    expect(() => hub.pipe(any({}))).toThrow(/destination must be a Writable/);
    expect(() => hub.pipe(new PassThrough({ objectMode: true }))).toThrow(/object mode/);
    expect(() => hub.pipe(new PassThrough(), any({ end: true }))).toThrow(/no option end/);
    expect(() => hub.pipe(new PassThrough(), any({ signal: {} }))).toThrow(/signal must be an AbortSignal/);
    expect(() => hub.subscribe({ maxLagBytes: 0 })).toThrow(/maxLagBytes .*received 0/);
    expect(() => hub.subscribe(any({ onLag: 'drop' }))).toThrow(/onLag .*"drop"/);
    expect(hub).toMatchObject({ state: 'idle', subscribers: 0 });
  });
});
