/**
 * Whether a healthy viewer loses anything: every packet of several channels is judged for as long as is wanted, by a checker
 * that shares no code with the publisher, while a viewer beside never reads and other channels are cut and restarted.
 *
 *   npm run test:continuity -- [--seconds 600] [--channels 4] [--viewers 3] [--megabits 5]
 *
 * Prints what it saw, and ends with exit code 1 if there was any break: a packet lost, doubled or torn, a clock that went
 * back, a viewer who was dropped, or one who got less than was sent. `--channels` are the healthy ones, each with `--viewers`.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { HdhomerunSimulator } from '../examples/hdhomerun/index.ts';
import { PublisherProcess } from '../test/publisher/support.ts';
import { ContinuityChecker } from '../test/support/continuity.ts';

const TROUBLED = 2;
const TROUBLE_EVERY_MS = 7_000;
/** How far behind the clock of its stream a healthy viewer may be at the end: what players buffer. */
const MAX_BEHIND_SECONDS = 3;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    channels: { type: 'string', default: '4' },
    viewers: { type: 'string', default: '3' },
    megabits: { type: 'string', default: '5' },
  },
});
const [seconds, channelCount, viewerCount, megabits] = [
  positive('seconds'),
  positive('channels'),
  positive('viewers'),
  positive('megabits'),
];

function positive(name: keyof typeof values): number {
  const value = Number(values[name]);
  if (value > 0 && (name === 'megabits' || Number.isInteger(value))) return value;
  console.error(`--${name} must be a positive number, received ${values[name]}`);
  process.exit(2);
}

/** Someone whose every byte counts. */
class HealthyViewer {
  readonly name: string;
  readonly checker = new ContinuityChecker();
  readonly #begunMs = performance.now();
  readonly #response: IncomingMessage;
  bytes = 0;
  isGone = false;

  static async open(name: string, url: string): Promise<HealthyViewer> {
    const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`);
    return new HealthyViewer(name, response);
  }

  private constructor(name: string, response: IncomingMessage) {
    this.name = name;
    this.#response = response;
    response.on('error', () => {});
    response.on('close', () => {
      this.isGone = true;
    });
    response.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      this.checker.write(chunk);
    });
  }

  leave(): void {
    this.#response.destroy();
  }

  complaints(): string[] {
    const { checker, name } = this;
    const watchedSeconds = (performance.now() - this.#begunMs) / 1000;
    const behindSeconds = watchedSeconds - checker.clockSeconds;
    return [
      ...checker.troubles.map((trouble) => `${name}: ${trouble}`),
      ...(this.isGone ? [`${name}: was dropped after ${checker.clockSeconds.toFixed(1)} s`] : []),
      ...(behindSeconds > MAX_BEHIND_SECONDS ? [`${name}: is ${behindSeconds.toFixed(1)} s behind`] : []),
    ];
  }
}

/** One that never reads, and so never sees that it is dropped. */
class BlockedViewer {
  readonly #socket: Socket;

  constructor(url: string) {
    const { hostname, port, pathname, host } = new URL(url);
    this.#socket = connect({ host: hostname, port: Number(port) }).pause();
    this.#socket.on('error', () => {});
    this.#socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  }

  leave(): void {
    this.#socket.destroy();
  }
}

/** Watches what is cut again and again, so that it is opened again and again. */
async function watchTroubled(url: string, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    try {
      const response = await fetch(url);
      for await (const _ of response.body ?? []) if (isOver()) break;
    } catch {
      // Cut, or silent for long: it comes again.
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

await using stack = new AsyncDisposableStack();
const lockDir = mkdtempSync(join(tmpdir(), 'holdfast-continuity-'));
stack.defer(() => rmSync(lockDir, { recursive: true, force: true }));
const total = channelCount + TROUBLED;
const channels = Array.from({ length: total }, (_, nth) => ({ number: `${nth + 1}.1`, name: `Channel ${nth + 1}` }));
const simulator = stack.use(
  await HdhomerunSimulator.start({
    tuners: total,
    channels,
    encoding: 'shared',
    megabits,
    size: { width: 640, height: 360 },
  }),
);
const publisher = stack.use(
  await PublisherProcess.start([
    ...['--device', simulator.url, '--lock-dir', lockDir, '--state-dir', join(lockDir, 'state')],
    ...['--discovery', 'off', '--restart-cooldown-ms', '0'],
  ]),
);
const urlOf = (number: string) => `${publisher.url}/channels/${number}.ts`;

let isOver = false;
const [healthy, troubled] = [channels.slice(0, channelCount), channels.slice(channelCount)];
const viewers = (
  await Promise.all(
    healthy.flatMap(({ number }) =>
      Array.from({ length: viewerCount }, (_, nth) => HealthyViewer.open(`${number} viewer ${nth + 1}`, urlOf(number))),
    ),
  )
).flat();
const blocked = new BlockedViewer(urlOf(healthy[0]?.number as string));
const watching = troubled.map(({ number }) => watchTroubled(urlOf(number), () => isOver));
const trouble = setInterval(() => {
  const { number } = troubled[Math.floor(Math.random() * troubled.length)] as { number: string };
  const fault = (['cut', 'end', 'stall', 'garbage'] as const)[Math.floor(Math.random() * 4)] as 'cut';
  simulator.misbehave({ fault, channel: number, times: 1 });
}, TROUBLE_EVERY_MS);

const begun = performance.now();
const complaints = () => viewers.flatMap((viewer) => viewer.complaints());
while (performance.now() - begun < seconds * 1000 && !viewers.some(({ isGone }) => isGone)) {
  await new Promise((resolve) => setTimeout(resolve, Math.min(1_000, seconds * 1000)));
}
const elapsed = (performance.now() - begun) / 1000;
const found = complaints();
const sum = (of: (viewer: HealthyViewer) => number) => viewers.reduce((total, viewer) => total + of(viewer), 0);
const result = {
  seconds: Math.round(elapsed),
  healthyChannels: channelCount,
  viewers: viewers.length,
  megabitsEach: megabits,
  packets: sum(({ checker }) => checker.packets),
  gigabytes: Number((sum(({ bytes }) => bytes) / 1e9).toFixed(3)),
  continuityErrors: sum(({ checker }) => checker.continuityErrors),
  syncLosses: sum(({ checker }) => checker.syncLosses),
  clockErrors: sum(({ checker }) => checker.clockErrors),
  discontinuities: sum(({ checker }) => checker.discontinuities),
  leastClockSeconds: Number(Math.min(...viewers.map(({ checker }) => checker.clockSeconds)).toFixed(1)),
  viewersDroppedAsTooSlow: await publisher.metric('holdfast_fanout_dropped_total'),
  opensOfTroubled: troubled.map(({ number }) => simulator.opens(number)),
  opensOfHealthy: healthy.map(({ number }) => simulator.opens(number)),
  publisher: {
    cpuSeconds: await publisher.metric('process_cpu_seconds_total'),
    residentBytes: await publisher.metric('process_resident_memory_bytes'),
  },
};
clearInterval(trouble);
isOver = true;
blocked.leave();
for (const viewer of viewers) viewer.leave();
simulator.heal();
simulator.misbehave({ fault: 'cut' });
await Promise.race([Promise.all(watching), new Promise((resolve) => setTimeout(resolve, 5_000))]);

console.log(JSON.stringify(result, null, 2));
for (const complaint of found) console.log(`FAILED  ${complaint}`);
const opened = result.opensOfHealthy.filter((opens) => opens !== 1).length;
if (opened > 0) console.log(`FAILED  ${opened} healthy channels were opened more than once`);
console.log(found.length + opened === 0 ? 'healthy viewers lost nothing' : 'healthy viewers lost something');
process.exitCode = found.length + opened === 0 ? 0 : 1;
