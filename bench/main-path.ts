// The times of the main path, with a simulated device in this process and the publisher as a process of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { type ClientRequest, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SourceLock } from 'holdfast';
import { HdhomerunSimulator } from '../examples/hdhomerun/index.ts';
import { report } from './compare.ts';

const ROUNDS = 7;
const repository = new URL('../', import.meta.url).pathname;

/** Milliseconds until `done` holds; looked at every 2 ms. */
async function until(done: () => boolean | Promise<boolean>): Promise<number> {
  const before = performance.now();
  while (!(await done())) {
    if (performance.now() - before > 30_000) throw new Error('not done after 30 s');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return performance.now() - before;
}

async function startPublisher(device: string, dir: string): Promise<{ child: ChildProcess; url: string }> {
  const args = ['--port', '0', '--device', device, '--lock-dir', dir];
  const child = spawn(process.execPath, [join(repository, 'dist/publisher/main.js'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const address = /watch: ffplay (\S+)/;
  await until(() => address.test(output));
  return { child, url: address.exec(output)?.[1] as string };
}

async function view(url: string): Promise<{ viewer: ClientRequest; ms: number }> {
  const before = performance.now();
  const viewer = get(url);
  viewer.on('error', () => {});
  const [response] = await once(viewer, 'response');
  await once(response, 'data');
  return { viewer, ms: performance.now() - before };
}

/** ffmpegs of this user that read from the device, its own left out. */
function readers(device: string): string[] {
  const commandLines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    });
  return commandLines.filter((line) => line.includes('ffmpeg') && line.includes(`\0-i\0${device}`));
}

export async function mainPath(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const samples = new Map<string, number[]>();
  const record = (name: string, ms: number) => samples.set(name, [...(samples.get(name) ?? []), ms]);
  await using simulator = await HdhomerunSimulator.start({});
  const isClean = () => simulator.streams() === 0 && readers(simulator.url).length === 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const before = performance.now();
      const { child, url } = await startPublisher(simulator.url, dir);
      record('start of the program to the address of a channel', performance.now() - before);
      const first = await view(url);
      record('request of the first viewer to its first byte', first.ms);
      const second = await view(url);
      record('request of the second viewer to its first byte', second.ms);
      first.viewer.destroy();
      second.viewer.destroy();
      record('last viewer gone to tuner free and ffmpeg gone', await until(isClean));
      await view(url);
      child.kill('SIGKILL');
      const isUnlocked = async () => isClean() && (await SourceLock.list({ dir })).length === 0;
      record('kill -9 to no ffmpeg, no open tuner, no held lock', await until(isUnlocked));
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  report({ title: 'Main path', unit: 'ms', samples });
}
