import type { Source } from '../directory/directory.ts';
import type { ListedSource } from './source-entry.ts';
import type { SourceList } from './source-list.ts';
import type { SourceReader } from './source-reader.ts';
import { seemsWell } from './tuner-check.ts';

/** A better source is asked about four times while it has to be well, within these bounds. */
const LEAST_PROBE_MS = 250;
const MOST_PROBE_MS = 15_000;

export interface ReturningParts {
  readonly list: SourceList;
  readonly reader: Pick<SourceReader, 'known' | 'headers' | 'isHeld'>;
  /** Asked each time, as it can change. */
  readonly preferAfterMs: () => number;
  readonly goBack: (to: ListedSource) => void;
}

type Better = NonNullable<ReturnType<SourceList['better']>>;

/** Asks, while a channel reads one of its lesser sources, how a better one is, and says when to go back to it. */
export class Returning {
  readonly #parts: ReturningParts;
  #probeAt = 0;
  #controller: AbortController | undefined;

  constructor(parts: ReturningParts) {
    this.#parts = parts;
  }

  /** To be called now and then while the channel is live. */
  look(now: number): void {
    const { list, preferAfterMs } = this.#parts;
    const better = list.better(now);
    if (!better || this.#controller || now < this.#probeAt) return;
    this.#probeAt = now + Math.min(Math.max(preferAfterMs() / 4, LEAST_PROBE_MS), MOST_PROBE_MS);
    const controller = new AbortController();
    this.#controller = controller;
    void this.#probe(better, controller.signal).finally(() => {
      if (this.#controller === controller) this.#controller = undefined;
    });
  }

  /** The channel is not live any more. */
  stop(): void {
    this.#controller?.abort();
    this.#controller = undefined;
  }

  async #probe({ listed, isDue }: Better, signal: AbortSignal): Promise<void> {
    const { list, goBack } = this.#parts;
    const isWell = await this.#seemsWell(listed.source, signal);
    if (signal.aborted) return;
    if (isWell !== undefined) list.probed(listed, isWell, performance.now());
    if (isWell && isDue) goBack(listed);
  }

  /** Never rejects: what can't even be asked is not well. */
  async #seemsWell(listed: Source, signal: AbortSignal): Promise<boolean | undefined> {
    const { list, reader } = this.#parts;
    const source = reader.known(listed);
    const read = list.reading && reader.known(list.reading.source);
    const isOnSameDevice = source.device !== undefined && source.device.deviceId === read?.device?.deviceId;
    try {
      if (await reader.isHeld(source)) return false;
      return await seemsWell(source, { isOnSameDevice, signal, headers: reader.headers });
    } catch {
      return false;
    }
  }
}
