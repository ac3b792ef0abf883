import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  AcquireTimeoutError,
  type ChildExit,
  ClosedError,
  ManagedChild,
  type ProcessLease,
  ProcessPool,
  type SpawnContext,
} from 'holdfast';
import type { Hardware } from '../config/schema.ts';
import { HardwareError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { trialArguments, type VideoEncoder } from './rendition-arguments.ts';

/** The dearest first. Each with how its devices are named, below `/dev`. */
const KINDS: readonly (readonly [kind: Exclude<Hardware, 'auto' | 'none'>, devices: RegExp])[] = [
  ['nvenc', /^nvidia\d+$/],
  ['qsv', /^dri\/renderD\d+$/],
  ['vaapi', /^dri\/renderD\d+$/],
  ['v4l2m2m', /^video\d+$/],
];
export const SOFTWARE: VideoEncoder = { kind: 'software' };
/** To encode two pictures; a driver may have to be loaded. */
const TRIAL_TIMEOUT_MS = 10_000;
/** One that a driver keeps from ending keeps no other from being tried. */
const MAX_TRIALS = 2;
/** What is tried ends at once, unless a driver keeps it. */
const CLOSING_MS = 2_000;
/** Who waits for pictures does not wait longer for what encodes them. */
const PATIENCE_MS = 3_000;

export interface HardwareTerms {
  /** What the operator wants now. */
  readonly wanted: () => Hardware;
  /** Throws an error that says how to get one. */
  readonly ffmpeg: () => string;
  readonly log: Logger;
  /** @default /dev */
  readonly devices?: string | undefined;
}

/** One look for what was wanted. */
interface Search {
  readonly wanted: Hardware;
  readonly found: Promise<VideoEncoder>;
  /** Once it is found. */
  encoder?: VideoEncoder;
}

/**
 * What encodes pictures on this host. Nothing is tried before something is to be encoded, and then once: what has a device
 * here and really encodes is taken. One that fails later is given up, and the processor encodes from then on.
 */
export class HardwareEncoders implements AsyncDisposable {
  readonly #terms: HardwareTerms;
  /** Beside that of what encodes, whose places are all taken where it matters most that one of them is tried again. */
  readonly #pool = new ProcessPool({ max: MAX_TRIALS, acquire: { maxAttempts: 1 } });
  readonly #trials = new Map<string, Promise<string | undefined>>();
  #search: Search | undefined;
  #isClosed = false;

  constructor(terms: HardwareTerms) {
    this.#terms = terms;
  }

  /**
   * The processor, as long as it is not known what works.
   *
   * @throws HardwareError if the one that was named does not work; it is tried again then.
   */
  async encoder(): Promise<VideoEncoder> {
    const { found } = this.#searchFor(this.#terms.wanted());
    const { promise: meanwhile, resolve } = Promise.withResolvers<VideoEncoder>();
    const timer = setTimeout(() => {
      this.#terms.log.warn('hardware encoders are still tried, the processor encodes meanwhile (--hardware)');
      resolve(SOFTWARE);
    }, PATIENCE_MS);
    try {
      return await Promise.race([found, meanwhile]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What it could not encode was encoded by the processor. It may not be what is used by now. */
  giveUp(encoder: VideoEncoder, why: unknown): void {
    const search = this.#search;
    if (encoder.kind === 'software' || search?.encoder !== encoder) return;
    this.#search = { wanted: search.wanted, found: Promise.resolve(SOFTWARE), encoder: SOFTWARE };
    const reason = why instanceof Error ? why.message : String(why);
    this.#terms.log.warn(`${encoder.kind} failed, the processor encodes from now on (--hardware): ${reason}`);
  }

  /** Something that it encoded ended, which may be the fault of what it was given: it is tried again. */
  async doubt(encoder: VideoEncoder, why: unknown): Promise<void> {
    if (encoder.kind === 'software' || this.#search?.encoder !== encoder) return;
    if ((await this.#complaintOf(encoder)) !== undefined) this.giveUp(encoder, why);
  }

  /** Ends what is tried. What a driver keeps from ending is left to its guard. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#pool.close(undefined, { timeoutMs: CLOSING_MS }).catch(() => {});
  }

  #searchFor(wanted: Hardware): Search {
    if (this.#search?.wanted === wanted) return this.#search;
    const search: Search = { wanted, found: this.#find(wanted) };
    this.#search = search;
    search.found.then(
      (encoder) => {
        search.encoder = encoder;
      },
      () => {
        if (this.#search === search) this.#search = undefined;
      },
    );
    return search;
  }

  async #find(wanted: Hardware): Promise<VideoEncoder> {
    const { log } = this.#terms;
    if (wanted === 'none') return SOFTWARE;
    const complaints: string[] = [];
    for (const encoder of this.#candidates(wanted)) {
      const complaint = await this.#complaintOf(encoder);
      if (complaint === undefined) {
        log.info(`pictures are encoded by ${encoder.kind}`);
        return encoder;
      }
      complaints.push(`${nameOf(encoder)}: ${complaint}`);
    }
    if (wanted !== 'auto')
      throw new HardwareError(wanted, complaints.join('; ') || `there is no device for it in /dev`);
    for (const complaint of complaints) log.warn(`${complaint}; the processor encodes instead (--hardware)`);
    return SOFTWARE;
  }

  #candidates(wanted: Hardware): VideoEncoder[] {
    const { devices = '/dev' } = this.#terms;
    const present = [...namesIn(devices), ...namesIn(join(devices, 'dri')).map((name) => `dri/${name}`)].sort();
    const kinds = KINDS.filter(([kind]) => wanted === 'auto' || wanted === kind);
    return kinds.flatMap(([kind, pattern]): VideoEncoder[] => {
      const found = present.filter((name) => pattern.test(name)).map((name) => join(devices, name));
      if (kind === 'vaapi' || kind === 'qsv') return found.map((device) => ({ kind, device }));
      return found.length > 0 ? [{ kind }] : [];
    });
  }

  /** Why it does not encode; undefined if it does. One trial of an encoder at a time tells all who ask. */
  #complaintOf(encoder: VideoEncoder): Promise<string | undefined> {
    const name = nameOf(encoder);
    const running = this.#trials.get(name);
    if (running) return running;
    const trial = this.#try(encoder).finally(() => this.#trials.delete(name));
    this.#trials.set(name, trial);
    return trial;
  }

  async #try(encoder: VideoEncoder): Promise<string | undefined> {
    const { ffmpeg } = this.#terms;
    const spawn = ({ signal }: SpawnContext) =>
      ManagedChild.spawn(ffmpeg(), trialArguments(encoder), { signal, stdout: 'ignore', graceMs: 100 });
    try {
      const trial = await this.#pool.acquire(spawn, { timeoutMs: TRIAL_TIMEOUT_MS });
      const complaint = await endOf(trial);
      // Its end tells nothing about the hardware then.
      if (this.#isClosed) throw new ClosedError('the search for hardware');
      return complaint;
    } catch (error) {
      if (!(error instanceof AcquireTimeoutError)) throw error;
      if (error.attempts === 0) return 'what was tried before does not end';
      return `ffmpeg did not start within ${TRIAL_TIMEOUT_MS} ms`;
    }
  }
}

/** A driver may keep it from ending at all: that is not waited for, and it keeps its place in the pool. */
async function endOf(trial: ProcessLease<ManagedChild>): Promise<string | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => {
    trial.child.terminate('late').catch(() => {});
    resolve(`it encoded nothing within ${TRIAL_TIMEOUT_MS} ms`);
  }, TRIAL_TIMEOUT_MS);
  try {
    return await Promise.race([late, trial.child.closed.then(complaintOf)]);
  } finally {
    clearTimeout(timer);
  }
}

function complaintOf({ reason, code, signal, stderrTail }: ChildExit): string | undefined {
  if (reason === 'exited' && code === 0) return undefined;
  return stderrTail.trim().split('\n').at(0)?.trim() || `ffmpeg ended with ${signal ?? `exit code ${code}`}`;
}

function nameOf(encoder: VideoEncoder): string {
  return 'device' in encoder ? `${encoder.kind} on ${encoder.device}` : encoder.kind;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
