/**
 * What it costs to hand one source to many HTTP clients, for holdfast beside what the kernel allows and its peers.
 *
 *   npm run bench:fanout -- [--rounds 5] [--seconds 6] [--warm-up 10] [--only 'N = 1000'] [--quick]
 *
 * Needs `cc`, and icecast2 and VLC where they can be had. All ways of a group are measured in turn, round by round; the
 * medians are told with their ratio to the first of the group, from pairs of the same round. `--quick` is one short round of most, to
 * see that it works; `--only` takes a part of the titles that are printed.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { keep, median } from './compare.ts';
import { build } from './fanout/build.ts';
import { type Held, mostClients } from './fanout/ladder.ts';
import { lateJoiners } from './fanout/late-joiner.ts';
import { type Audience, measure, type Sample } from './fanout/measure.ts';
import { bars } from './fanout/plot.ts';
import { type Feed, icecast, limit, node, type StartServer, twoHubs, vlc } from './fanout/servers.ts';

interface Group {
  readonly title: string;
  readonly feed: Feed;
  readonly audience: Audience;
  /** The first is what the others are compared with. */
  readonly ways: readonly (readonly [name: string, start: StartServer])[];
}

interface Measured extends Sample {
  readonly round: number;
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '6' },
    'warm-up': { type: 'string', default: '10' },
    only: { type: 'string', default: '' },
    quick: { type: 'boolean', default: false },
  },
});
const rounds = values.quick ? 1 : amount('rounds');
const times = values.quick
  ? { warmUpSeconds: 1, seconds: 1 }
  : { warmUpSeconds: amount('warm-up'), seconds: amount('seconds') };

/** As UDP is relayed: seven packets of MPEG-TS at a time. */
const small = { bitsPerSecond: 10_000_000, bytes: 1_316 };
/** As ffmpeg writes at this rate. */
const large = { bitsPerSecond: 10_000_000, bytes: 37_600 };
const ours = ['FanoutHub.pipe', node('hub')] as const;
const c = ['C, epoll, 40 ms slices (the limit)', limit] as const;
const icecast2 = await icecast();
const player = await vlc();

const groups: readonly Group[] = [
  {
    title: 'N = 100, source in large writes',
    ...{ feed: large, audience: { clients: 100 } },
    ways: [
      ...[c, ours, ...(icecast2 ? [['icecast2', icecast2] as const] : [])],
      ...(player ? [['VLC, a stream of its own', player] as const] : []),
    ],
  },
  {
    title: 'N = 100, source in 1316-byte writes',
    ...{ feed: small, audience: { clients: 100 } },
    ways: [
      ...[c, ours, ['FanoutHub.pipe, sliceMs: 0', node('hub-at-once')] as const],
      ['stdout.pipe(response)', node('pipe')],
      ...[['a PassThrough each', node('pass-through')] as const, ['response.write per chunk', node('write')] as const],
      ...(icecast2 ? [['icecast2', icecast2] as const] : []),
    ],
  },
  {
    title: 'N = 1000, source in large writes',
    ...{ feed: large, audience: { clients: 1_000 } },
    ways: [c, ours, ['two processes on one port', twoHubs]],
  },
  {
    // More is more than a core can write.
    title: 'N = 4000, 4 Mbit/s, source in large writes',
    ...{ feed: { bitsPerSecond: 4_000_000, bytes: 18_800 }, audience: { clients: 4_000 } },
    ways: [c, ours, ['FanoutHub.pipe, 4 MB semi-spaces', node('hub', '--max-semi-space-size=4')]],
  },
  {
    title: 'N = 100, 20 who never read and 20 of half the rate, source in 1316-byte writes',
    ...{ feed: small, audience: { clients: 100, blocked: 20, half: 20 } },
    ways: [c, ours, ['stdout.pipe(response)', node('pipe')]],
  },
];

const isChosen = (title: string) => title.includes(values.only);
const titles = [...groups.map(({ title }) => title), 'clients held', 'late joiner'];
if (!titles.some(isChosen)) {
  console.error(`--only ${values.only} is in none of: ${titles.join('; ')}`);
  process.exit(2);
}

using tools = build();
for (const group of groups.filter(({ title }) => isChosen(title))) await run(group);
if (isChosen('clients held') && !values.quick) await climb();
if (isChosen('late joiner')) await joinLate(values.quick ? 1 : Math.max(rounds, 5));
if (!values.quick) draw();

async function run({ title, feed, audience, ways }: Group): Promise<void> {
  const samples = new Map<string, Measured[]>(ways.map(([name]) => [name, []]));
  const failed = new Map<string, string>();
  for (let round = 0; round < rounds; round++) {
    for (const [name, start] of ways) {
      try {
        samples.get(name)?.push({ round, ...(await measure(start, tools, feed, audience, times)) });
      } catch (error) {
        failed.set(name, String(error));
      }
    }
  }
  print(title, samples, failed);
  if (!values.quick) keep(`fan-out ${title}`, { feed, audience, times, samples: Object.fromEntries(samples) });
}

/** What was measured last of each group. */
function draw(): void {
  const folder = new URL('results/', import.meta.url);
  const names = readdirSync(folder).filter((name) => name.startsWith('fan-out-'));
  const kept = names.map((name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')));
  const plotted = groups.map(({ title }) => {
    const { samples = {} } = kept.find((each) => each.title === `fan-out ${title}`) ?? {};
    const ways = Object.entries<Sample[]>(samples);
    const medians = ways.map(([name, all]) => [name, middle(all, ({ cpuPerGiB }) => cpuPerGiB ?? Infinity)] as const);
    return { title, values: new Map(medians) };
  });
  writeFileSync(new URL('fanout.svg', folder), bars('CPU seconds per GiB delivered', plotted));
}

async function climb(): Promise<void> {
  const ways = [ours, ['response.write per chunk', node('write')]] as const;
  const held = new Map<string, Held[]>(ways.map(([name]) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, start] of ways) held.get(name)?.push(await mostClients(start, tools, small));
  }
  keep('clients held at 10 Mbit s in 1316-byte writes', { feed: small, held: Object.fromEntries(held) });
  const mine = held.get(ours[0])?.map(({ clients }) => clients) ?? [];
  console.log(`\nclients held, each with all of 10 Mbit/s, source in 1316-byte writes (median of ${rounds})`);
  for (const [name, all] of held) {
    const ratio = median(all.map(({ clients }, round) => (mine[round] ?? Number.NaN) / clients)).toFixed(1);
    const clients = median(all.map(({ clients }) => clients)).toString();
    console.log(`  ${name.padEnd(36)} ${clients.padStart(6)}   the hub holds ${ratio.padStart(5)} times as many`);
  }
}

async function joinLate(times: number): Promise<void> {
  const joins = await lateJoiners(times);
  console.log(`\nlate joiner, to its first decoded picture, groups of 2 s (median of ${times}, in ms)`);
  for (const { player, joined, blind } of joins) {
    const ratio = (median(joined) / median(blind)).toFixed(2);
    const [at, anywhere] = [median(joined).toFixed(0).padStart(6), median(blind).toFixed(0).padStart(6)];
    console.log(`  ${player.padEnd(10)} at a join point ${at}   anywhere ${anywhere}   ${ratio}×`);
  }
  if (!values.quick) keep('late joiner', { joins });
}

function print(title: string, samples: ReadonlyMap<string, readonly Measured[]>, failed: ReadonlyMap<string, string>) {
  const [first = []] = samples.values();
  console.log(`\n${title} (median of ${rounds})`);
  console.log(`  ${''.padEnd(36)} CPU-s/GiB   ratio     p50/p99 ms   least got   KB/client   TCP MiB   dropped`);
  for (const [name, all] of samples) {
    if (failed.has(name)) console.log(`  ${name}: ${failed.get(name)}`);
    if (all.length === 0) continue;
    const cpu = middle(all, ({ cpuPerGiB }) => cpuPerGiB);
    const ratio = median(all.flatMap((mine) => ratiosOf(mine, first)));
    const clients = groups.find((group) => group.title === title)?.audience.clients ?? 1;
    const each = middle(all, ({ rssMiB, rssBeforeMiB }) => ((rssMiB - rssBeforeMiB) * 1_024) / clients);
    const cells = [
      (Number.isFinite(cpu) ? cpu.toFixed(3) : 'stalls').padStart(9),
      `${Number.isFinite(ratio) ? ratio.toFixed(2) : '–'}×`.padStart(8),
      `${ms(middle(all, ({ p50Ms }) => p50Ms))} / ${ms(middle(all, ({ p99Ms }) => p99Ms))}`.padStart(15),
      `${(Math.min(...all.map(({ leastShare }) => leastShare)) * 100).toFixed(1)} %`.padStart(11),
      each.toFixed(1).padStart(11),
      middle(all, ({ tcpMiB }) => tcpMiB)
        .toFixed(1)
        .padStart(9),
      String(middle(all, ({ dropped }) => dropped)).padStart(9),
    ];
    console.log(`  ${name.padEnd(36)} ${cells.join('')}`);
  }
}

/** To the one of the same round, unless that failed. */
function ratiosOf({ round, cpuPerGiB }: Measured, first: readonly Measured[]): number[] {
  return first.filter((other) => other.round === round).map((other) => cpuPerGiB / other.cpuPerGiB);
}

/** Where no time came through it is negative: one who makes a stream of its own carries none. */
function ms(latency: number): string {
  return latency < 0 ? '–' : latency.toFixed(1);
}

function middle(samples: readonly Sample[], of: (sample: Sample) => number): number {
  return median(samples.map(of));
}

function amount(name: 'rounds' | 'seconds' | 'warm-up'): number {
  const number = Number(values[name]);
  if (number > 0) return number;
  console.error(`--${name} must be a number above 0, received ${values[name]}`);
  process.exit(2);
}
