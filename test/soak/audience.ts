import { get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Comparison, Reference } from './witness.ts';

/** What became of those who watched. */
export interface AudienceCounts {
  /** Healthy ones that got a stream. */
  viewers: number;
  /** Answers other than 200, by their status. */
  refused: Record<string, number>;
  /** Requests that had no answer in time. */
  unanswered: number;
  /** Healthy ones whose stream was ended by the other side. */
  cut: number;
  equalBytes: number;
  lostBytes: number;
  slow: number;
  slowDropped: number;
}

const RETRY_MS = 1_000;
/** A start may take 15 s by default. */
const ANSWER_MS = 30_000;

/** People who come and go. Of each channel one stays, and what the others get is compared with what that one gets. */
export class Audience {
  readonly counts: AudienceCounts = {
    viewers: 0,
    refused: {},
    unanswered: 0,
    cut: 0,
    equalBytes: 0,
    lostBytes: 0,
    slow: 0,
    slowDropped: 0,
  };
  readonly #url: string;
  readonly #signal: AbortSignal;
  readonly #lost: (channel: string, bytes: number) => void;
  readonly #references = new Map<string, Reference>();

  /** @param lost told of each visit that lost something */
  constructor(url: string, signal: AbortSignal, lost: (channel: string, bytes: number) => void) {
    this.#url = url;
    this.#signal = signal;
    this.#lost = lost;
  }

  /** Watches for as long as the soak goes, again and again if it has to. */
  async stay(channel: string): Promise<void> {
    while (!this.#signal.aborted) {
      const reference = new Reference();
      this.#references.set(channel, reference);
      await this.#watch(channel, (chunk) => reference.add(chunk), this.#signal);
      await pause(RETRY_MS, this.#signal);
    }
  }

  /** Watches for so long, and leaves. */
  async visit(channel: string, ms: number): Promise<void> {
    const leaving = new AbortController();
    const timer = setTimeout(() => leaving.abort(), ms);
    const reference = this.#references.get(channel);
    const comparison = reference && new Comparison(reference);
    await this.#watch(channel, (chunk) => comparison?.add(chunk), AbortSignal.any([leaving.signal, this.#signal]));
    clearTimeout(timer);
    comparison?.finish();
    this.counts.equalBytes += comparison?.equalBytes ?? 0;
    this.counts.lostBytes += comparison?.lostBytes ?? 0;
    if (comparison && comparison.lostBytes > 0) this.#lost(channel, comparison.lostBytes);
  }

  /** Reads nothing, or now and then, until it is dropped or the soak is over. */
  async dawdle(channel: string, readsNothing: boolean): Promise<void> {
    const response = await this.#open(channel, this.#signal);
    if (!response) return;
    this.counts.slow += 1;
    const pulse = readsNothing ? undefined : setInterval(() => response.read(16_384), 250);
    response.on('error', () => {});
    await new Promise((resolve) => {
      response.on('close', resolve);
      this.#signal.addEventListener('abort', resolve);
      response.on('close', () => this.#signal.removeEventListener('abort', resolve));
    });
    const isDropped = !this.#signal.aborted;
    clearInterval(pulse);
    this.counts.slowDropped += Number(isDropped);
    response.destroy();
  }

  async #watch(channel: string, take: (chunk: Buffer) => void, signal: AbortSignal): Promise<void> {
    const response = await this.#open(channel, signal);
    if (!response) return;
    this.counts.viewers += 1;
    response.on('data', take);
    response.on('error', () => {});
    await new Promise((resolve) => response.on('close', resolve));
    if (!signal.aborted) this.counts.cut += 1;
  }

  /** Undefined if it was refused or could not be had. */
  #open(channel: string, signal: AbortSignal): Promise<IncomingMessage | undefined> {
    const { refused } = this.counts;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve(undefined);
      const timer = setTimeout(() => {
        this.counts.unanswered++;
        request.destroy();
      }, ANSWER_MS);
      const request = get(new URL(`/channels/${encodeURIComponent(channel)}.ts`, this.#url), { agent: false, signal });
      request.on('close', () => clearTimeout(timer));
      // One that was answered may be reset later: that is for who reads the response.
      let isAnswered = false;
      request.on('response', (response) => {
        isAnswered = true;
        clearTimeout(timer);
        if (response.statusCode === 200) return resolve(response);
        const status = String(response.statusCode);
        refused[status] = (refused[status] ?? 0) + 1;
        response.resume();
        resolve(undefined);
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        const why = error.code ?? error.message;
        if (!isAnswered && !signal.aborted) refused[why] = (refused[why] ?? 0) + 1;
        resolve(undefined);
      });
    });
  }
}

export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
