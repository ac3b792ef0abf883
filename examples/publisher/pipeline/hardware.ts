import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ManagedChild } from 'holdfast';
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
const SOFTWARE: VideoEncoder = { kind: 'software' };
/** To encode two pictures; a driver may have to be loaded. */
const TRIAL_TIMEOUT_MS = 10_000;

export interface HardwareTerms {
  /** What the operator wants now. */
  readonly wanted: () => Hardware;
  /** Throws an error that says how to get one. */
  readonly ffmpeg: () => string;
  readonly log: Logger;
  /** @default /dev */
  readonly devices?: string | undefined;
}

/**
 * What encodes pictures on this host. Nothing is tried before something is to be encoded, and then once: what has a device
 * here and really encodes is taken. One that fails later is given up, and the processor encodes from then on.
 */
export class HardwareEncoders {
  readonly #terms: HardwareTerms;
  #found: Promise<VideoEncoder> | undefined;
  /** What it was looked for. */
  #wanted: Hardware | undefined;

  constructor(terms: HardwareTerms) {
    this.#terms = terms;
  }

  /** @throws HardwareError if the one that was named does not work; it is tried again then. */
  encoder(): Promise<VideoEncoder> {
    const wanted = this.#terms.wanted();
    if (wanted !== this.#wanted) this.#found = undefined;
    this.#wanted = wanted;
    this.#found ??= this.#find(wanted).catch((error) => {
      this.#found = undefined;
      throw error;
    });
    return this.#found;
  }

  /** Told when something that encoded by it has failed. Returns whether there is another to try. */
  giveUp(encoder: VideoEncoder, why: unknown): boolean {
    if (encoder.kind === 'software') return false;
    this.#found = Promise.resolve(SOFTWARE);
    const reason = why instanceof Error ? why.message : String(why);
    this.#terms.log.warn(`${encoder.kind} failed, the processor encodes from now on (--hardware): ${reason}`);
    return true;
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

  /** Why it does not encode; undefined if it does. */
  async #complaintOf(encoder: VideoEncoder): Promise<string | undefined> {
    await using trial = await ManagedChild.spawn(this.#terms.ffmpeg(), trialArguments(encoder), { graceMs: 100 });
    const late = setTimeout(() => trial.terminate('late').catch(() => {}), TRIAL_TIMEOUT_MS);
    trial.stdout?.resume();
    const { reason, code, stderrTail } = await trial.closed;
    clearTimeout(late);
    if (reason === 'exited' && code === 0) return undefined;
    if (reason !== 'exited') return `it encoded nothing within ${TRIAL_TIMEOUT_MS} ms`;
    return stderrTail.trim().split('\n').at(0)?.trim() || `ffmpeg ended with exit code ${code}`;
  }
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
