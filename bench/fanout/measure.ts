import { ManagedChild } from 'holdfast';
import type { Tools } from './build.ts';
import type { Feed, StartServer } from './servers.ts';

/** One run of one server; see load.c. */
export interface Sample {
  /** CPU seconds, user and system, for each GiB that reached a client; `Infinity` if none did. */
  readonly cpuPerGiB: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** What the client with the least got of what the source gave. */
  readonly leastShare: number;
  /** Of the healthy ones, and of the others. */
  readonly closed: number;
  readonly dropped: number;
  readonly rssBeforeMiB: number;
  readonly rssMiB: number;
  readonly tcpMiB: number;
  /** Of both processors, 2 is all. */
  readonly busyShare: number;
  readonly loadShare: number;
  readonly cpuShare: number;
}

export interface Audience {
  readonly clients: number;
  /** More of them, who never read, or half as fast as the source writes. */
  readonly blocked?: number;
  readonly half?: number;
}

export interface Times {
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

/** Starts a server for this one measurement, and ends it. */
export async function measure(
  start: StartServer,
  tools: Tools,
  feed: Feed,
  { clients, blocked = 0, half = 0 }: Audience,
  { warmUpSeconds, seconds }: Times,
): Promise<Sample> {
  await using server = await start(tools, feed);
  const numbers = [clients, blocked, half, warmUpSeconds, seconds, feed.bitsPerSecond, ...server.pids].map(String);
  await using load = await ManagedChild.spawn(tools.load, [String(server.port), server.path, ...numbers]);
  let output = '';
  load.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const { code } = await load.closed;
  if (code !== 0) throw new Error(`load ended with ${code}: ${load.stderrTail()}`);
  const sample = JSON.parse(output.trim());
  return { ...sample, cpuPerGiB: sample.cpuPerGiB ?? Number.POSITIVE_INFINITY };
}
