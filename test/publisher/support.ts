import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { childrenOf, type Program, startProgram } from '../support/processes.ts';
import { isUnderLoad, patienceMs, promisedMs } from '../support/promised.ts';
import { probe } from '../support/transport-stream.ts';

// biome-ignore lint/suspicious/noExplicitAny: the tests judge what the program answers
export type Json = any;

const run = promisify(execFile);

/** Makes the module that `startProgram` runs be the publisher after something else; the flags follow `AS_MAIN`. */
const THEN_MAIN = "\nawait import('./examples/publisher/main.ts');\n";
/** Stands where the path of the program would be. */
const AS_MAIN = 'main';

/** Under load a source may take ten times as long as by default, as all that is waited for; a test's own flags win. */
const MORE_TIME = isUnderLoad
  ? ['--start-timeout-ms', '150000', '--stall-timeout-ms', '100000', '--failover-after-ms', '22500']
  : [];

/** The publisher as people run it: a process of its own. */
export class PublisherProcess implements AsyncDisposable {
  readonly #program: Program;
  /** What it keeps is not for the next, unless that is what is tested. */
  readonly #stateHome = mkdtempSync(join(tmpdir(), 'holdfast-state-'));
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null; output: string }>;

  /** @param before what the process does first, as the text of a module */
  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}, before = '') {
    const own = { XDG_STATE_HOME: this.#stateHome, ...env };
    this.#program = before
      ? startProgram(before + THEN_MAIN, own, [AS_MAIN, ...args])
      : startProgram('examples/publisher/main.ts', own, args);
    this.exited = once(this.#program.process, 'close').then(([code, signal]) => {
      rmSync(this.#stateHome, { recursive: true, force: true });
      return { code, signal, output: this.output };
    });
  }

  /** Resolves when it serves and knows what it could find; it does not answer the network. */
  static async start(args: readonly string[], env: NodeJS.ProcessEnv = {}, before = ''): Promise<PublisherProcess> {
    const publisher = new PublisherProcess(['--port', '0', '--discovery', 'off', ...MORE_TIME, ...args], env, before);
    await publisher.says(/watch: |no channel is known yet/, patienceMs(30_000));
    return publisher;
  }

  get pid(): number {
    return this.#program.pid;
  }

  get output(): string {
    return this.#program.output();
  }

  /** But for what other programs of this host have left, such as another test whose publisher was killed just now. */
  get warnings(): readonly string[] {
    return this.output.split('\n').filter((line) => / WARN (?!not of this publisher)/.test(line));
  }

  /** Without a slash at its end. */
  get url(): string {
    const url = /dashboard: (http:\S+)\//.exec(this.output)?.[1];
    if (!url) throw new Error(`the publisher has not said its address:\n${this.output}`);
    return url;
  }

  says(what: RegExp, timeoutMs: number = patienceMs(15_000)): Promise<void> {
    return eventually(() => {
      if (!what.test(this.output)) throw new Error(`the publisher has not said ${what}:\n${this.output}`);
    }, timeoutMs);
  }

  kill(signal: NodeJS.Signals): void {
    this.#program.process.kill(signal);
  }

  async json(path: string): Promise<Json> {
    return (await fetch(this.url + path)).json();
  }

  /** A metric, summed over its series, or one series, as `name{label="value"}`; 0 before there is any. */
  async metric(name: string): Promise<number> {
    const { text } = await ask(`${this.url}/metrics`);
    const series = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  async channel(id: string): Promise<Json> {
    const { channels } = await this.json('/api/channels');
    return channels.find((channel: { id: string }) => channel.id === id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGTERM');
    const late = setTimeout(() => this.kill('SIGKILL'), 3_000);
    await this.exited;
    clearTimeout(late);
  }
}

/** Someone who watches: reads what comes until told to leave. */
export class Viewer implements Disposable {
  readonly response: IncomingMessage;
  bytes = 0;
  readonly chunks: Buffer[] = [];
  #gone = false;

  /** Resolves at the head of the answer. */
  static async open(url: string, options: { readonly keep?: boolean } = {}): Promise<Viewer> {
    const request = get(url, { agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new Viewer(response, options.keep ?? false);
  }

  private constructor(response: IncomingMessage, keep: boolean) {
    this.response = response;
    response.on('error', () => {});
    response.on('close', () => {
      this.#gone = true;
    });
    response.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (keep) this.chunks.push(chunk);
    });
  }

  get status(): number {
    return this.response.statusCode as number;
  }

  get headers(): IncomingHttpHeaders {
    return this.response.headers;
  }

  get isGone(): boolean {
    return this.#gone;
  }

  /** Resolves when so many more bytes have come. */
  more(bytes = 10_000, timeoutMs: number = promisedMs(10_000)): Promise<void> {
    const wanted = this.bytes + bytes;
    return eventually(() => {
      if (this.bytes < wanted) {
        throw new Error(`${this.bytes} bytes of ${wanted} with status ${this.status}; gone: ${this.#gone}`);
      }
    }, timeoutMs);
  }

  leave(): void {
    this.response.destroy();
  }

  [Symbol.dispose](): void {
    this.leave();
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Json;
  readonly elapsedMs: number;
}

/** An answer that is not a stream. */
export async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const begun = performance.now();
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== '';
  const elapsedMs = performance.now() - begun;
  return { status: response.status, headers: response.headers, text, json: isJson && JSON.parse(text), elapsedMs };
}

/** The pids whose command line has a text in it: those that read a URL. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && commandOf(name).includes(text))
    .map(Number)
    .filter((pid) => pid !== process.pid);
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

/** The pids of a process's children. */
export const pidsOfChildren = (parent: number): number[] => childrenOf(parent).map(({ pid }) => pid);

/** How long it takes until `check` no longer throws; an error if that is longer than `limitMs`. */
export async function timed(limitMs: number, check: () => void | Promise<void>): Promise<number> {
  const begun = performance.now();
  await eventually(check, promisedMs(limitMs));
  return Math.round(performance.now() - begun);
}

/** `video`, `audio`: what the real ffprobe finds. */
export async function streamsOf(url: string): Promise<string[]> {
  const { streams } = await probe(url);
  return [...new Set(streams.map(({ codec_type }) => codec_type))].sort();
}

/** Makes a short MPEG-TS file of about so many megabits per second. */
export async function makeRecording(path: string, megabits = 2, seconds = 2): Promise<void> {
  const rate = `${megabits}M`;
  const args = ['-v', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=25', '-f', 'lavfi', '-i', 'sine'];
  const video = ['-c:v', 'mpeg2video', '-g', '12', '-b:v', rate, '-minrate', rate, '-maxrate', rate, '-bufsize', '4M'];
  const audio = ['-c:a', 'mp2', '-t', String(seconds)];
  await run(findFfmpeg(), [...args, ...video, ...audio, '-muxrate', `${megabits + 2}M`, '-f', 'mpegts', path]);
}

/** Makes a file of one second with what ffmpeg is told to encode. */
export async function makeFile(path: string, ...encode: readonly string[]): Promise<void> {
  const video = ['-f', 'lavfi', '-i', 'testsrc2=size=160x120:rate=10'];
  const audio = ['-f', 'lavfi', '-i', 'sine'];
  await run(findFfmpeg(), ['-v', 'error', '-y', ...video, ...audio, '-t', '1', ...encode, path]);
}
