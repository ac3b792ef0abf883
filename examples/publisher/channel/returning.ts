import type { Source } from '../directory/directory.ts';
import type { ListedSource, SourceList } from './source-list.ts';
import { seemsWell } from './tuner-check.ts';

/** A better source is asked about four times while it has to be well, within these bounds. */
const LEAST_PROBE_MS = 250;
const MOST_PROBE_MS = 15_000;

export interface ReturningParts {
  readonly list: SourceList;
  /** A source with its device, if that is known by now. */
  readonly known: (source: Source) => Source;
  /** Asked each time, as it can change. */
  readonly preferAfterMs: () => number;
  readonly goBack: (to: ListedSource) => void;
}

/** Asks, while a channel reads one of its lesser sources, how a better one is, and says when to go back to it. */
export class Returning {
  readonly #list: SourceList;
  readonly #known: (source: Source) => Source;
  readonly #preferAfterMs: () => number;
  readonly #goBack: (to: ListedSource) => void;
  #probeAt = 0;
  #controller: AbortController | undefined;

  constructor({ list, known, preferAfterMs, goBack }: ReturningParts) {
    this.#list = list;
    this.#known = known;
    this.#preferAfterMs = preferAfterMs;
    this.#goBack = goBack;
  }

  /** To be called now and then while the channel is live. */
  look(now: number): void {
    const better = this.#list.better(now);
    if (!better || this.#controller || now < this.#probeAt) return;
    this.#probeAt = now + Math.min(Math.max(this.#preferAfterMs() / 4, LEAST_PROBE_MS), MOST_PROBE_MS);
    this.#controller = new AbortController();
    void this.#probe(better, this.#controller);
  }

  /** The channel is not live any more. */
  stop(): void {
    this.#controller?.abort();
    this.#controller = undefined;
  }

  async #probe(
    { listed, isDue }: { readonly listed: ListedSource; readonly isDue: boolean },
    controller: AbortController,
  ): Promise<void> {
    const source = this.#known(listed.source);
    const { reading } = this.#list;
    const read = reading && this.#known(reading.source);
    const isOnSameDevice = source.device !== undefined && source.device.deviceId === read?.device?.deviceId;
    const { signal } = controller;
    const isWell = await seemsWell(source, { isOnSameDevice, signal });
    if (signal.aborted) return;
    this.#controller = undefined;
    if (isWell !== undefined) this.#list.probed(listed, isWell, performance.now());
    if (isWell && isDue) this.#goBack(listed);
  }
}
