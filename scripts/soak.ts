/**
 * A publisher under viewers that come and go and faults that happen, for as long as is wanted.
 *
 *   npm run soak -- --duration 86400 [--url http://127.0.0.1:8080] [--viewers 12] [--warm-up 60] [--fault-every 30]
 *                   [--max-storms 3] [--max-growth 1.2] [--report soak.html]
 *
 * Without --url it runs a publisher and a simulated tuner of its own, and makes them suffer: tuner busy, cut, stall, end,
 * garbage, SIGKILL and SIGSTOP of ffmpeg. A publisher at --url is given slow viewers alone. Ends with exit code 1 if there
 * was a recursion error, too many storms, an orphan, a byte that a healthy viewer lost, or growth of memory or descriptors
 * after the warm-up. Times in seconds.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ManagedChild } from 'holdfast';
import { HdhomerunSimulator } from '../examples/hdhomerun/index.ts';
import { PublisherProcess } from '../test/publisher/support.ts';
import { Audience, pause } from '../test/soak/audience.ts';
import { type Reading, readChannels, readMetrics } from '../test/soak/readings.ts';
import { type Incident, page } from '../test/soak/report.ts';
import { type Trouble, troubles } from '../test/soak/troubles.ts';
import { complaints, type Findings, unjudged } from '../test/soak/verdict.ts';

const USAGE =
  'npm run soak -- [--duration seconds] [--url http://…] [--viewers n] [--warm-up seconds] [--fault-every seconds] ' +
  '[--max-storms n] [--max-growth ratio] [--report file.html]';
/** What a timer can wait for. */
const LONGEST_SECONDS = 2_147_483;

/** With a lock directory of its own. */
async function startPublisher(device: string): Promise<PublisherProcess> {
  const lockDir = mkdtempSync(join(tmpdir(), 'holdfast-soak-'));
  stack.defer(() => rmSync(lockDir, { recursive: true, force: true }));
  return PublisherProcess.start([
    ...['--device', device, '--lock-dir', lockDir, '--log', 'json', '--restart-cooldown-ms', '1000'],
  ]);
}

function misuse(message: string): never {
  console.error(`${message}\n${USAGE}`);
  process.exit(2);
}

/** Before anything is started: nothing is left by an end here. */
function parsed<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    misuse(`${what}${(error as Error).message}`);
  }
}

const { values } = parsed('', () =>
  parseArgs({
    options: {
      duration: { type: 'string', default: '60' },
      url: { type: 'string' },
      viewers: { type: 'string', default: '12' },
      'warm-up': { type: 'string', default: '60' },
      'fault-every': { type: 'string', default: '30' },
      'max-storms': { type: 'string', default: '3' },
      'max-growth': { type: 'string', default: '1.2' },
      report: { type: 'string', default: 'soak.html' },
      help: { type: 'boolean', default: false },
    },
  }),
);
if (values.help) {
  console.log(USAGE);
  process.exit();
}

function amount(name: Exclude<keyof typeof values, 'url' | 'report' | 'help'>, from: number, to: number): number {
  const number = Number(values[name]);
  if (values[name] !== '' && number >= from && number <= to) return number;
  misuse(`--${name} must be a number from ${from} to ${to}, received ${values[name]}`);
}

const duration = amount('duration', 1, LONGEST_SECONDS);
const viewers = amount('viewers', 0, 10_000);
if (!Number.isInteger(viewers)) misuse(`--viewers must be a whole number, received ${viewers}`);
const warmUp = amount('warm-up', 0, LONGEST_SECONDS);
const faultEvery = amount('fault-every', 0.1, LONGEST_SECONDS);
const limits = { maxStorms: amount('max-storms', 0, 1e9), maxGrowth: amount('max-growth', 1, 1e9) };
if (values.url !== undefined) parsed(`--url ${values.url}: `, () => new URL(values.url as string));
// Now, and not after a day.
const report = parsed('--report: ', () => openSync(values.report, 'w'));
const READ_EVERY_MS = 1_000;
const VISIT_MS = 30_000;
/** A guard ends what a killed owner leaves well within this. */
const GUARD_MS = 10_000;

const over = new AbortController();
const { signal } = over;
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => over.abort());

await using stack = new AsyncDisposableStack();
const simulator = values.url ? undefined : stack.use(await HdhomerunSimulator.start({ tuners: 4 }));
const own = simulator && stack.use(await startPublisher(simulator.url));
const url = values.url ?? (own as PublisherProcess).url;
const channels = await readChannels(url, signal).catch((error) => {
  if (own) throw error;
  misuse(`no publisher can be asked at ${url}: ${error.cause ?? error}`);
});
const ids = channels.map(({ id }) => id);
if (ids.length === 0) misuse(`the publisher at ${url} has no channels`);
const readings: Reading[] = [];
const incidents: Incident[] = [];
const begin = performance.now();
const elapsed = () => (performance.now() - begin) / 1_000;
const happened = (what: string) => incidents.push({ at: elapsed(), what });
const audience = new Audience(url, signal, (channel, bytes) => {
  happened(`a viewer of ${channel} lost ${bytes} bytes at ${elapsed().toFixed(0)} s`);
});
const timer = setTimeout(() => over.abort(), duration * 1_000);
stack.defer(() => clearTimeout(timer));

async function orphansOf(owner: number | undefined): Promise<number[]> {
  return (await ManagedChild.sweepOrphans()).filter(({ ownerPid }) => ownerPid === owner).map(({ pid }) => pid);
}

/** Without those whose owner has just died: their guard ends them. */
async function lastingOrphans(owner: number | undefined): Promise<number[]> {
  const end = performance.now() + GUARD_MS;
  let left = await orphansOf(owner);
  while (left.length > 0 && performance.now() < end) {
    await pause(100);
    left = await orphansOf(owner);
  }
  return left;
}

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T;

async function again(act: () => Promise<unknown>): Promise<void> {
  while (!signal.aborted) {
    await act();
    await pause(500 + Math.random() * 1_000, signal);
  }
}

let unreachableAt: number | undefined;

/** A publisher that is gone is a finding, and the end of it. */
async function read(): Promise<void> {
  while (!signal.aborted) {
    try {
      readings.push(await readMetrics(url, elapsed(), signal));
    } catch (error) {
      if (signal.aborted) return;
      console.error(error);
      unreachableAt = elapsed();
      over.abort();
    }
    await pause(READ_EVERY_MS, signal);
  }
}

async function isLive(channel: string): Promise<boolean> {
  const all = await readChannels(url, signal).catch(() => []);
  return all.some(({ id, state }) => id === channel && state === 'live');
}

async function suffer(all: readonly Trouble[]): Promise<void> {
  await pause(faultEvery * 1_000, signal);
  while (!signal.aborted) {
    const [trouble, channel] = [pick(all), pick(ids)];
    // What is ordered of a channel that is not read would wait for its next opening, and the more of it the longer it fails.
    if ((await isLive(channel)) && trouble.happen(channel)) happened(trouble.name);
    await pause(faultEvery * 1_000 * (0.5 + Math.random()), signal);
  }
}

await Promise.all([
  read(),
  ...ids.map((id) => audience.stay(id)),
  ...Array.from({ length: viewers }, () => again(() => audience.visit(pick(ids), Math.random() * VISIT_MS))),
  again(() => audience.dawdle(pick(ids), true)),
  again(() => audience.dawdle(pick(ids), false)),
  ...(simulator && own ? [suffer(troubles(simulator, own.pid, signal))] : []),
]);

const recursionErrors = own?.output.match(/Maximum call stack/g)?.length ?? 0;
const seconds = elapsed();
await own?.[Symbol.asyncDispose]();
const orphans = await lastingOrphans(own?.pid);
const findings: Findings = {
  readings,
  audience: audience.counts,
  orphans,
  recursionErrors,
  warmUpSeconds: Math.min(warmUp, seconds / 3),
  seconds,
  // One for each channel, and one that is being ended.
  maxChildren: own ? 2 * ids.length : Number.POSITIVE_INFINITY,
  unreachableAt,
};
const wrong = complaints(findings, limits);
const title = `Soak of ${Math.round(seconds)} s, ${viewers} viewers, ${incidents.length} incidents`;
const verdict = wrong.length === 0 ? 'passed' : `FAILED: ${wrong.join('; ')}`;
console.log(title, audience.counts, readings.at(-1));
for (const what of unjudged(findings)) console.log(`not judged: ${what}`);
console.log(`${verdict}; ${values.report}`);
process.exitCode = wrong.length === 0 ? 0 : 1;
writeFileSync(report, page({ ...findings, title, incidents, complaints: wrong }));
closeSync(report);
