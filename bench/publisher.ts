/**
 * What the publisher costs and how fast it is, measured from outside.
 *
 *   npm run bench:publisher -- [--rounds 5] [--load-seconds 20] [--idle-seconds 60] [--only start,zap,hls,load,idle]
 *
 * - cold start: from the spawn of `npm start` to the first picture that ffmpeg decodes
 * - zap: on a channel that is live, from the request to the byte with which a first picture can be decoded
 * - hls: from the start of an ffmpeg to its first picture of HLS of a channel that nobody watches
 * - load: 20 channels of 5 viewers at 5 Mbit/s in pass-through; CPU and memory of the publisher's process alone
 * - idle: CPU, children and tuners of a publisher without a viewer
 *
 * The simulated tuner shares one encoding and runs here, as do the viewers. Medians; raw results in bench/results.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findFfmpeg, HdhomerunSimulator } from '../examples/hdhomerun/index.ts';
import { PublisherProcess } from '../test/publisher/support.ts';
import { ContinuityChecker } from '../test/support/continuity.ts';
import { childrenOf } from '../test/support/processes.ts';
import { picturesIn } from '../test/support/transport-stream.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    'load-seconds': { type: 'string', default: '20' },
    'idle-seconds': { type: 'string', default: '60' },
    only: { type: 'string', default: 'start,zap,hls,load,idle' },
  },
});
const [rounds, loadSeconds, idleSeconds] = [whole('rounds'), whole('load-seconds'), whole('idle-seconds')];

function whole(name: keyof typeof values): number {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`--${name} must be a positive whole number, received ${values[name]}`);
  process.exit(2);
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
const PAGE_BYTES = Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' }));
const REPOSITORY = new URL('..', import.meta.url).pathname;

const median = (of: readonly number[]) => [...of].sort((a, b) => a - b)[Math.floor(of.length / 2)] as number;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** User and system time of a process, in seconds. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

const residentBytes = (pid: number) => Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE_BYTES;

/** Resolves when ffmpeg has decoded a picture, or rejects with what it said. */
async function firstPicture(url: string): Promise<void> {
  const quick = ['-v', 'error', '-probesize', '100000', '-analyzeduration', '0', '-fflags', 'nobuffer'];
  const args = [...quick, '-i', url, '-map', '0:v:0', '-frames:v', '1', '-f', 'null', '-'];
  const ffmpeg = spawn(findFfmpeg(), args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  ffmpeg.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const [code] = await once(ffmpeg, 'close');
  if (code !== 0) throw new Error(said.trim() || `ffmpeg ended with ${code}`);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return Math.round(performance.now() - begun);
}

/** Runs `npm start` as people do, until its first picture is decoded. */
async function coldStart(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const flags = ['--port', '0', '--lock-dir', folder, '--state-dir', join(folder, 'state'), '--discovery', 'off'];
  const begun = performance.now();
  const npm = spawn('npm', ['start', '--', ...flags], { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await firstPicture(await addressIn(npm));
    return Math.round(performance.now() - begun);
  } finally {
    npm.kill('SIGTERM');
    await once(npm, 'close');
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What it advises to watch. */
async function addressIn(npm: ChildProcess): Promise<string> {
  let said = '';
  for await (const chunk of npm.stdout as NodeJS.ReadableStream) {
    said += chunk;
    const [, address] = /watch: ffplay (\S+)/.exec(said) ?? [];
    if (address !== undefined) {
      npm.stdout?.resume();
      return address;
    }
  }
  throw new Error(`npm start ended: ${said}`);
}

interface Stand extends AsyncDisposable {
  readonly simulator: HdhomerunSimulator;
  readonly publisher: PublisherProcess;
}

async function stand(channelCount: number, megabits: number): Promise<Stand> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const channels = Array.from({ length: channelCount }, (_, nth) => ({
    number: `${nth + 1}.1`,
    name: `Channel ${nth}`,
  }));
  const size = { width: 640, height: 360 };
  const simulator = await HdhomerunSimulator.start({
    tuners: channelCount,
    channels,
    encoding: 'shared',
    megabits,
    size,
  });
  const flags = ['--device', simulator.url, '--lock-dir', folder, '--state-dir', join(folder, 'state')];
  const publisher = await PublisherProcess.start([...flags, '--discovery', 'off', '--hls-idle-ms', '1000']);
  return {
    simulator,
    publisher,
    async [Symbol.asyncDispose]() {
      await publisher[Symbol.asyncDispose]();
      await simulator.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function watch(url: string, take: (chunk: Buffer) => void): Promise<IncomingMessage> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`);
  return response.on('error', () => {}).on('data', take);
}

/** When the bytes that had come by then first had a picture in them that ffmpeg decodes; its own start does not count. */
async function firstDecodable(url: string): Promise<{ ms: number; bytes: number }> {
  const begun = performance.now();
  const arrived: { ms: number; chunk: Buffer }[] = [];
  const viewer = await watch(url, (chunk) => arrived.push({ ms: performance.now() - begun, chunk }));
  await pause(1_500);
  viewer.destroy();
  let bytes: Buffer = Buffer.alloc(0);
  for (const { ms, chunk } of arrived) {
    bytes = Buffer.concat([bytes, chunk]);
    if (picturesIn(bytes) > 0) return { ms: Number(ms.toFixed(1)), bytes: bytes.length };
  }
  throw new Error(`no picture in ${bytes.length} bytes of ${url}`);
}

async function zap(): Promise<object> {
  await using house = await stand(1, 5);
  const url = `${house.publisher.url}/channels/1.1.ts`;
  const viewer = await watch(url, () => {});
  await pause(3_000);
  const zaps: { ms: number; bytes: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    zaps.push(await firstDecodable(url));
    await pause(Math.random() * 1_000);
  }
  viewer.destroy();
  return { medianMs: median(zaps.map(({ ms }) => ms)), zaps };
}

async function hls(): Promise<object> {
  await using house = await stand(1, 5);
  const ms: number[] = [];
  for (let round = 0; round < rounds; round++) {
    ms.push(await timed(() => firstPicture(`${house.publisher.url}/channels/1.1/hls/index.m3u8`)));
    while (house.simulator.streams() > 0) await pause(100);
  }
  return { medianMs: median(ms), ms };
}

async function load(): Promise<object> {
  const [channels, viewersEach, megabits] = [20, 5, 5];
  await using house = await stand(channels, megabits);
  const checkers: ContinuityChecker[] = [];
  const bytes: number[] = [];
  const responses = await Promise.all(
    Array.from({ length: channels * viewersEach }, (_, nth) => {
      // Each packet of one viewer of each channel is judged, the others are counted.
      const checker = nth % viewersEach === 0 ? new ContinuityChecker() : undefined;
      if (checker) checkers.push(checker);
      bytes[nth] = 0;
      return watch(`${house.publisher.url}/channels/${Math.floor(nth / viewersEach) + 1}.1.ts`, (chunk) => {
        bytes[nth] = (bytes[nth] as number) + chunk.length;
        checker?.write(chunk);
      });
    }),
  );
  await pause(3_000);
  const { pid } = house.publisher;
  const [cpuBefore, ownBefore, bytesBefore, begun] = [
    cpuSeconds(pid),
    cpuSeconds(process.pid),
    [...bytes],
    performance.now(),
  ];
  let resident = 0;
  while (performance.now() - begun < loadSeconds * 1_000) {
    await pause(500);
    resident = Math.max(resident, residentBytes(pid));
  }
  const seconds = (performance.now() - begun) / 1_000;
  const rates = bytes.map((count, nth) => ((count - (bytesBefore[nth] as number)) * 8) / seconds / 1e6);
  const result = {
    channels,
    viewers: responses.length,
    seconds: Number(seconds.toFixed(1)),
    publisherCpuSecondsPerSecond: Number(((cpuSeconds(pid) - cpuBefore) / seconds).toFixed(3)),
    simulatorAndViewersCpuSecondsPerSecond: Number(((cpuSeconds(process.pid) - ownBefore) / seconds).toFixed(3)),
    publisherResidentMegabytes: Math.round(resident / 1e6),
    publisherChildren: childrenOf(pid).length,
    megabitsPerViewer: { least: Number(Math.min(...rates).toFixed(2)), median: Number(median(rates).toFixed(2)) },
    errorsOfJudgedViewers: checkers.reduce((sum, { errors }) => sum + errors, 0),
    viewersDropped: responses.filter(({ destroyed, complete }) => destroyed || complete).length,
    tunersOpened: house.simulator.opens(),
  };
  for (const response of responses) response.destroy();
  return result;
}

async function idle(): Promise<object> {
  await using house = await stand(20, 1);
  await pause(5_000);
  const { pid } = house.publisher;
  const [before, begun] = [cpuSeconds(pid), performance.now()];
  let [children, tuners] = [0, 0];
  while (performance.now() - begun < idleSeconds * 1_000) {
    await pause(1_000);
    children = Math.max(children, childrenOf(pid).length);
    tuners = Math.max(tuners, house.simulator.streams());
  }
  const seconds = (performance.now() - begun) / 1_000;
  const cpuPercent = Number(((100 * (cpuSeconds(pid) - before)) / seconds).toFixed(2));
  return {
    seconds: Math.round(seconds),
    cpuPercent,
    children,
    tuners,
    residentMegabytes: Math.round(residentBytes(pid) / 1e6),
  };
}

async function start(): Promise<object> {
  const ms: number[] = [];
  for (let round = 0; round < rounds; round++) ms.push(await coldStart());
  return { medianMs: median(ms), ms };
}

const MEASURES: Readonly<Record<string, () => Promise<object>>> = { start, zap, hls, load, idle };
const NAMES: Readonly<Record<string, string>> = {
  start: 'publisher-cold-start-to-first-picture',
  zap: 'publisher-zap-on-a-live-channel',
  hls: 'publisher-hls-to-first-picture',
  load: 'publisher-20-channels-of-5-viewers-at-5-mbit-s',
  idle: 'publisher-idle',
};

for (const name of values.only.split(',')) {
  const measure = MEASURES[name];
  if (!measure) {
    console.error(`--only has ${Object.keys(MEASURES).join(', ')}, received ${name}`);
    process.exit(2);
  }
  const loadBefore = Number(loadavg()[0]?.toFixed(2));
  const result = {
    machine: { cpus: cpus().length, model: cpus()[0]?.model, node: process.version, loadBefore },
    ...(await measure()),
  };
  writeFileSync(join(REPOSITORY, 'bench/results', `${NAMES[name]}.json`), `${JSON.stringify(result, null, 2)}\n`);
  console.log(name, JSON.stringify(result));
}
process.exit();
