import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HlsStream } from '../../examples/publisher/hls/hls-stream.ts';
import { newSessionId, Sessions } from '../../examples/publisher/hls/sessions.ts';
import { Viewers } from '../../examples/publisher/http/viewers.ts';

const client = '127.0.0.1';
const viewers = new Viewers(() => ({ maxViewers: 10, maxViewersTotal: 10, maxViewersPerAddress: 10 }));

/** Counts who uses it, in the place of one that cuts. */
class Stream {
  users = 0;
  readonly targetSeconds: number;

  constructor(targetSeconds: number) {
    this.targetSeconds = targetSeconds;
  }

  use(): Disposable {
    this.users++;
    return { [Symbol.dispose]: () => void this.users-- };
  }
}

function visit(sessions: Sessions, id: string, stream: Stream, channel = '5.1'): void {
  const place = sessions.enter(id, client, channel);
  if (!(Symbol.dispose in place)) throw new Error(place.detail);
  sessions.watch(id, stream as unknown as HlsStream);
  place[Symbol.dispose]();
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('a session of HLS', () => {
  it.each([
    ['hlsIdleMs after its last request', 7_000, 2, 7_000],
    ['after three target durations, for which players wait, if that is longer', 2_000, 3, 9_000],
  ])('is over %s', (_, idleMs, targetSeconds, overMs) => {
    using sessions = new Sessions(viewers, () => idleMs);
    const stream = new Stream(targetSeconds);
    const id = newSessionId();
    visit(sessions, id, stream);
    vi.advanceTimersByTime(overMs - 1);
    visit(sessions, id, stream);
    vi.advanceTimersByTime(overMs - 1);
    expect([sessions.size, viewers.total, stream.users]).toEqual([1, 1, 1]);
    vi.advanceTimersByTime(1);
    expect([sessions.size, viewers.total, stream.users]).toEqual([0, 0, 0]);
    expect(sessions.hasEnded(id)).toBe(false);
  });

  it('keeps one stream, the last that it asked for', () => {
    using sessions = new Sessions(viewers, () => 1_000);
    const [first, second] = [new Stream(1), new Stream(1)];
    const id = newSessionId();
    for (const stream of [first, first, second]) visit(sessions, id, stream);
    expect([first.users, second.users, viewers.of('5.1')]).toEqual([0, 1, 1]);
    visit(sessions, id, first, '7.1');
    expect([first.users, second.users, viewers.of('5.1'), viewers.of('7.1')]).toEqual([1, 0, 0, 1]);
  });

  it('that was given nothing is over with its last request', () => {
    using sessions = new Sessions(viewers, () => 1_000);
    const requests = [1, 2].map(() => sessions.enter('from an address', client, '5.1') as Disposable);
    requests[0]?.[Symbol.dispose]();
    expect(viewers.total).toBe(1);
    requests[1]?.[Symbol.dispose]();
    expect([sessions.size, viewers.total]).toEqual([0, 0]);
  });

  it('that was ended stays ended while a thousand others are', () => {
    using sessions = new Sessions(viewers, () => 1_000);
    const stream = new Stream(1);
    const ids = Array.from({ length: 1_001 }, newSessionId);
    for (const id of ids.slice(0, 1_000)) {
      visit(sessions, id, stream);
      sessions.end(id);
    }
    sessions.end('never begun');
    expect(sessions.hasEnded(ids[0] as string)).toBe(true);
    visit(sessions, ids[1_000] as string, stream);
    sessions.end(ids[1_000] as string);
    expect(ids.map((id) => sessions.hasEnded(id))).toEqual([false, ...Array(1_000).fill(true)]);
    expect(stream.users).toBe(0);
  });
});
