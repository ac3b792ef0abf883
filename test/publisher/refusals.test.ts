import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { afterEach, expect, it, onTestFinished, vi } from 'vitest';
import { type Fault, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { Publisher } from '../../examples/publisher/app.ts';
import { loadConfig } from '../../examples/publisher/config/config.ts';
import { parseFlags } from '../../examples/publisher/config/flags.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { Viewer } from './support.ts';

const realTimeout = setTimeout;
const MINUTES = 10;
const STEP_MS = 250;

/** Time is faked for timers and clocks, and real for sockets: after each step what is on its way arrives. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= STEP_MS) {
    await vi.advanceTimersByTimeAsync(Math.min(STEP_MS, left));
    await new Promise((resolve) => realTimeout(resolve, 2));
  }
}

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Every request for a stream that the device got, by its path. */
function countStreamRequests(port: string): Map<string, number> {
  const counts = new Map<string, number>();
  const count = (message: unknown) => {
    const { request } = message as { request: IncomingMessage };
    const path = request.url ?? '';
    if (request.socket.localPort === Number(port) && /^\/(auto|tuner\d)\//.test(path)) {
      counts.set(path, (counts.get(path) ?? 0) + 1);
    }
  };
  subscribe('http.server.request.start', count);
  onTestFinished(() => void unsubscribe('http.server.request.start', count));
  return counts;
}

it.each<[Fault, number]>([
  ['busy', MINUTES * 6],
  ['tune-failed', MINUTES * 2],
])(
  '%s for ten minutes leaves the directory as it was, asks the device a bounded number of times, and is over when it ends',
  async (fault, most) => {
    const said: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((line) => said.push(String(line)) > 0);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] });
    const simulator = await HdhomerunSimulator.start({ encoding: 'shared' });
    onTestFinished(() => simulator.close());
    const folder = temporaryDirectory();
    const flags = ['--port', '0', '--device', simulator.url, '--lock-dir', folder, '--state-dir', folder];
    const config = loadConfig(parseFlags([...flags, '--discovery', 'off', '--log', 'json']));
    const publisher = await Publisher.start(config, createLog('json'));
    onTestFinished(() => publisher.close());
    const url = /dashboard: (http:\S+)\//.exec(said.join(''))?.[1] as string;
    const ids = async () => {
      const response = await fetch(`${url}/api/public-streams`);
      return ((await response.json()) as { streams: { id: string }[] }).streams.map(({ id }) => id);
    };
    const settle = async (check: () => unknown) => {
      for (let tries = 0; ; tries++) {
        try {
          return await check();
        } catch (error) {
          if (tries > 1_000) throw error;
          await pass(STEP_MS);
        }
      }
    };
    await settle(async () => expect(await ids()).toEqual(['5.1', '7.1', '9.1']));
    const opening = Viewer.open(`${url}/channels/5.1.ts`);
    await pass(2_000);
    using viewer = await opening;
    await settle(() => expect(viewer.bytes).toBeGreaterThan(1_000));

    const requests = countStreamRequests(new URL(simulator.url).port);
    simulator.misbehave({ fault });
    simulator.misbehave({ fault: 'cut', times: 1 });
    let next = 0;
    for (let second = 0; second < MINUTES * 60; second++) {
      await pass(1_000);
      if (second % 15 === 0) expect(await ids()).toEqual(['5.1', '7.1', '9.1']);
      if (second < next) continue;
      // A player that comes again when it is told to.
      const response = await fetch(`${url}/channels/7.1.ts`);
      await response.body?.cancel();
      expect([502, 503]).toContain(response.status);
      next = second + Number(response.headers.get('retry-after') ?? 10);
    }
    expect(viewer.isGone).toBe(false);
    console.log(`${fault}: asked ${JSON.stringify([...requests])}`);
    for (const count of requests.values()) expect(count).toBeLessThanOrEqual(most + 5);
    expect([...requests.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(4);

    simulator.heal();
    const bytes = viewer.bytes;
    await settle(() => expect(viewer.bytes).toBeGreaterThan(bytes + 10_000));
    vi.useRealTimers();
    viewer.leave();
    await eventually(() => expect(simulator.streams()).toBe(0));
  },
);
