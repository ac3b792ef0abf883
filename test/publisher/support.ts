import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { findFfmpeg, findFfprobe } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';

// biome-ignore lint/suspicious/noExplicitAny: the tests judge what the program answers
export type Json = any;

const root = new URL('../../', import.meta.url).pathname;
const run = promisify(execFile);

/** A directory of this test, gone after it; of a test file, if called outside of any hook with `afterAll`. */
export function tempDir(onEnd: (remove: () => void) => void = onTestFinished): string {
  const path = mkdtempSync(join(tmpdir(), 'publisher-test-'));
  onEnd(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The publisher as people run it: a process of its own. */
export class PublisherProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  #output = '';
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null; output: string }>;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}, uid?: number) {
    this.#child = spawn(
      process.execPath,
      ['--import', './scripts/from-source.mjs', 'examples/publisher/main.ts', ...args],
      {
        cwd: root,
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        uid,
      },
    );
    for (const pipe of [this.#child.stdout, this.#child.stderr]) {
      pipe?.on('data', (chunk) => {
        this.#output += chunk;
      });
    }
    this.exited = once(this.#child, 'close').then(([code, signal]) => ({ code, signal, output: this.#output }));
  }

  /** Resolves when it serves and knows what it could find. */
  static async start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<PublisherProcess> {
    const publisher = new PublisherProcess(['--port', '0', ...args], env);
    await publisher.says(/watch: |no channel is known yet/);
    return publisher;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  get output(): string {
    return this.#output;
  }

  /** Without a slash at its end. */
  get url(): string {
    const url = /dashboard: (http:\S+)\//.exec(this.#output)?.[1];
    if (!url) throw new Error(`the publisher has not said its address:\n${this.#output}`);
    return url;
  }

  says(what: RegExp, timeoutMs = 15_000): Promise<void> {
    return eventually(() => {
      if (!what.test(this.#output)) throw new Error(`the publisher has not said ${what}:\n${this.#output}`);
    }, timeoutMs);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async json(path: string): Promise<Json> {
    return (await fetch(this.url + path)).json();
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
  more(bytes = 10_000, timeoutMs = 10_000): Promise<void> {
    const wanted = this.bytes + bytes;
    return eventually(() => {
      if (this.bytes < wanted) throw new Error(`${this.bytes} bytes of ${wanted}; gone: ${this.#gone}`);
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

/** The children of a process. */
export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
    .map(Number);
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')[1]);
  } catch {
    return undefined;
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** How long it takes until `check` no longer throws; an error if that is longer than `limitMs`. */
export async function timed(limitMs: number, check: () => void | Promise<void>): Promise<number> {
  const begun = performance.now();
  await eventually(check, promisedMs(limitMs));
  return Math.round(performance.now() - begun);
}

/** `video`, `audio`: what the real ffprobe finds. */
export async function streamsOf(url: string): Promise<string[]> {
  const args = [
    '-v',
    'error',
    '-show_entries',
    'stream=codec_type',
    '-of',
    'csv=p=0',
    '-analyzeduration',
    '1000000',
    url,
  ];
  // A static ffprobe that loads the system's character sets to read a service name crashes.
  const env = { ...process.env, GCONV_PATH: '/nonexistent' };
  const { stdout } = await run(findFfprobe(), args, { env, timeout: 20_000 });
  return [...new Set(stdout.split(/[\s,]+/).filter((word) => word !== '' && word !== 'program'))].sort();
}

/** Makes a short MPEG-TS file of about so many megabits per second. */
export async function makeRecording(path: string, megabits = 2, seconds = 2): Promise<void> {
  const rate = `${megabits}M`;
  const args = ['-v', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=25', '-f', 'lavfi', '-i', 'sine'];
  const video = ['-c:v', 'mpeg2video', '-g', '12', '-b:v', rate, '-minrate', rate, '-maxrate', rate, '-bufsize', '4M'];
  const audio = ['-c:a', 'mp2', '-t', String(seconds)];
  await run(findFfmpeg(), [...args, ...video, ...audio, '-muxrate', `${megabits + 2}M`, '-f', 'mpegts', path]);
}

/** Where the continuity counter of a PID jumps: a packet was lost there. */
export function continuityErrors(stream: Buffer): number {
  const last = new Map<number, number>();
  let errors = 0;
  for (let at = 0; at + 188 <= stream.length; at += 188) {
    const pid = stream.readUInt16BE(at + 1) & 0x1fff;
    const [flags = 0] = stream.subarray(at + 3);
    if (stream[at] !== 0x47) return Number.POSITIVE_INFINITY;
    if (pid === 0x1fff || !(flags & 0x10)) continue;
    const before = last.get(pid);
    if (before !== undefined && (flags & 0x0f) !== ((before + 1) & 0x0f)) errors += 1;
    last.set(pid, flags & 0x0f);
  }
  return errors;
}
