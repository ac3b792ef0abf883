import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest';
import { HdhomerunSimulator, type SimulatorOptions } from '../../examples/hdhomerun/index.ts';
import { PublisherProcess } from '../publisher/support.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const NOBODY = 65_534;

/** A tuner with three channels and a publisher of them, for a test file. */
export interface House {
  readonly simulator: HdhomerunSimulator;
  readonly publisher: PublisherProcess;
  /** Of a channel as MPEG-TS, with what a test adds. */
  stream(channel: string, query?: string): string;
  /** Of a channel as HLS. */
  hls(channel: string): string;
}

export function startHouse(options: SimulatorOptions = {}, flags: readonly string[] = []): House {
  let [simulator, publisher] = [undefined as HdhomerunSimulator | undefined, undefined as PublisherProcess | undefined];
  const lockDir = temporaryDirectory(afterAll);
  beforeAll(async () => {
    simulator = await HdhomerunSimulator.start({ encoding: 'shared', ...options });
    publisher = await PublisherProcess.start([
      ...['--device', simulator.url, '--lock-dir', lockDir, '--restart-cooldown-ms', '0', '--hls-idle-ms', '6000'],
      ...flags,
    ]);
  });
  afterAll(async () => {
    await publisher?.[Symbol.asyncDispose]();
    await simulator?.close();
  });
  return {
    get simulator() {
      return simulator as HdhomerunSimulator;
    },
    get publisher() {
      return publisher as PublisherProcess;
    },
    stream: (channel, query = '') => `${publisher?.url}/channels/${channel}.ts${query}`,
    hls: (channel) => `${publisher?.url}/channels/${channel}/hls/index.m3u8`,
  };
}

/** The last one who watched has stopped: so has the tuner. HLS is given up a while after its last request. */
export async function expectTunerFree(simulator: HdhomerunSimulator, withinMs: number): Promise<void> {
  await eventually(() => expect(simulator.streams()).toBe(0), promisedMs(withinMs));
}

/** A program that runs until the test is over; what it says is kept. */
export class Player implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly exit: Promise<number | NodeJS.Signals>;
  output = '';

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.#process = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on('data', (chunk) => {
        this.output += chunk;
      });
    }
    this.exit = once(this.#process, 'close').then(([code, signal]) => code ?? signal);
    onTestFinished(() => this[Symbol.asyncDispose]());
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    this.#process.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL');
    await this.exit;
  }
}

/** A home that an ordinary user may write, which is who runs a player; gone after the test. */
export function homeOfNobody(): string {
  const home = temporaryDirectory();
  if (process.getuid?.() === 0) chownSync(home, NOBODY, NOBODY);
  return home;
}

/** What stands before a program that root must not run. */
export const asNobody: readonly string[] =
  process.getuid?.() === 0
    ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--']
    : ['env', '--'];

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whichever that is. */
export async function ended(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Ended> {
  const running = promisify(execFile)(program, args, { env, maxBuffer: 2 ** 26, timeout: promisedMs(45_000) });
  return running.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
}
