import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ManagedChild } from 'holdfast';
import { hostNow } from '../../src/internal/time.ts';
import type { Samples } from './crowd-sampler.ts';
import { environment } from './crowd-source.ts';
import { REQUEST, Viewer } from './crowd-viewer.ts';

const SERVER = new URL('crowd-server.ts', import.meta.url).pathname;
const SAMPLER = new URL('crowd-sampler.ts', import.meta.url).pathname;
/** Of the healthy ones; in a process of their own, where nothing delays them. */
const SAMPLED = 10;
const TURN_MS = 20;

export interface Crowd {
  readonly healthy: number;
  /** They never read. */
  readonly blocked: number;
  /** They read at half the pace. */
  readonly half: number;
  readonly bytesPerSecond: number;
}

export interface CrowdVerdict {
  readonly lagged: number;
  readonly seconds: number;
  readonly bytesOfEach: number;
  /** From when a byte was due to when a healthy one had it, while the others were there. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the server, with only the healthy ones before and after. */
  readonly rssBeforeMiB: number;
  readonly rssAfterMiB: number;
  /** What the kernel holds for TCP. */
  readonly tcpBeforeMiB: number;
  readonly tcpMostMiB: number;
  readonly tcpAfterMiB: number;
  readonly faults: readonly string[];
}

/** What crowd-server.ts tells. */
interface State {
  readonly subscribers: number;
  readonly lagged: number;
  readonly rss: number;
}

/** Healthy viewers of a hub in a process of its own, and beside them those that can't follow until the last is dropped. */
export async function crowd({ healthy, blocked, half, bytesPerSecond }: Crowd): Promise<CrowdVerdict> {
  await using server = await start(SERVER, String(bytesPerSecond));
  const port = Number(await firstLine(server));
  // A connection that is kept may be closed by the server just as it is used again.
  const headers = { connection: 'close' };
  const ask = async (path: string) =>
    (await (await fetch(`http://127.0.0.1:${port}${path}`, { headers })).json()) as State;
  const viewers = Array.from({ length: healthy - SAMPLED }, () => new Viewer(port));
  const others: Socket[] = [];
  try {
    // Until it is compiled it takes longer for everything.
    await until(() => viewers.every(({ bytes }) => bytes > 3 * bytesPerSecond));
    await using sampler = await start(SAMPLER, String(port), String(SAMPLED));
    await until(async () => (await ask('/state')).subscribers === healthy);
    const [before, tcpBeforeMiB] = [await ask('/weight'), tcpMiB()];
    const begunMs = hostNow();
    for (let n = 0; n < blocked + half; n++) others.push(slow(port, n < blocked ? 0 : bytesPerSecond / 2));
    let tcpMostMiB = 0;
    await until(async () => {
      tcpMostMiB = Math.max(tcpMostMiB, tcpMiB());
      const { subscribers, lagged } = await ask('/state');
      return subscribers === healthy && lagged === blocked + half;
    });
    const seconds = (hostNow() - begunMs) / 1_000;
    sampler.stdin?.end(String(begunMs));
    const samples: Samples = JSON.parse(await firstLine(sampler));
    const after = await ask('/weight');
    return {
      ...{ lagged: after.lagged, seconds, bytesOfEach: Math.min(...viewers.map(({ bytes }) => bytes)) },
      ...{ p50Ms: samples.p50Ms, p99Ms: samples.p99Ms },
      ...{ rssBeforeMiB: before.rss / 2 ** 20, rssAfterMiB: after.rss / 2 ** 20 },
      ...{ tcpBeforeMiB, tcpMostMiB, tcpAfterMiB: tcpMiB() },
      faults: [...samples.faults, ...viewers.flatMap(({ fault }) => fault ?? [])],
    };
  } finally {
    for (const each of [...viewers, ...others]) each.destroy();
  }
}

function start(program: string, ...args: readonly string[]): Promise<ManagedChild> {
  const all = ['--expose-gc', '--import', './scripts/from-source.mjs', program, ...args];
  return ManagedChild.spawn(process.execPath, all, { env: environment, stdin: 'pipe', graceMs: 0 });
}

function firstLine(child: ManagedChild): Promise<string> {
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', (line) => resolve(String(line)));
    child.closed.then(() => reject(new Error(`it said nothing: ${child.stderrTail()}`)));
  });
}

/** Asks now and then: to do it all the time would be a load of its own. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not within two minutes: ${isSo}`);
    await sleep(200);
  }
}

/** Reads at a pace, or never. */
function slow(port: number, bytesPerSecond: number): Socket {
  const socket = connect(port, '127.0.0.1', () => socket.write(REQUEST));
  const begun = performance.now();
  let bytes = 0;
  socket.pause();
  socket.on('error', () => {});
  if (bytesPerSecond === 0) return socket;
  socket.on('data', (chunk) => {
    bytes += chunk.length;
    if (bytes > ((performance.now() - begun) / 1_000) * bytesPerSecond) socket.pause();
  });
  const turn = setInterval(() => {
    if (bytes < ((performance.now() - begun) / 1_000) * bytesPerSecond) socket.resume();
  }, TURN_MS);
  socket.once('close', () => clearInterval(turn));
  return socket;
}

function tcpMiB(): number {
  const [, pages] = /^TCP: .* mem (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'utf8')) ?? [];
  return (Number(pages) * 4_096) / 2 ** 20;
}
