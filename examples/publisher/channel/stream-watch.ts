import type { StreamMonitor } from '../../mpeg-ts/index.ts';
import type { SwitchReason } from './switches.ts';

/** Why a source is to be left. */
export interface Trouble {
  readonly why: SwitchReason;
  readonly detail: string;
}

export interface WatchSettings {
  /** How long nothing may come while another source may be tried. */
  readonly failoverAfterMs: number;
  /** And while there is none. */
  readonly stallTimeoutMs: number;
}

/** How often a live source is looked at. */
export const WATCH_MS = 100;

/**
 * Decides when a live source is left. One that gives nothing to see is left for any that may be tried; one that is only
 * poor for one that is well as far as is known, as a poor picture is better than none. Where there is no other, garbage is
 * opened anew once it has lasted for as long as a stall, of which whoever opened it takes care, and what is poor goes on.
 *
 * Silence is counted look by look: while this process itself hangs, what came meanwhile is not read yet, and that is no
 * fault of the source.
 */
export class StreamWatch {
  readonly #monitor: StreamMonitor;
  readonly #settings: WatchSettings;
  #lookedAt: number | undefined;
  #bytes = -1;
  #silentMs = 0;

  constructor(monitor: StreamMonitor, settings: WatchSettings) {
    this.#monitor = monitor;
    this.#settings = settings;
  }

  look(now: number, hasOther: (kind: 'any' | 'well') => boolean): Trouble | undefined {
    this.#countSilence(now);
    const { failoverAfterMs, stallTimeoutMs } = this.#settings;
    if (this.#silentMs >= failoverAfterMs && hasOther('any')) return this.#silent();
    const trouble = this.#monitor.trouble(now);
    if (!trouble) return undefined;
    const { kind: why, detail, sinceMs } = trouble;
    if (why !== 'garbage') return hasOther('well') ? { why, detail } : undefined;
    return hasOther('any') || sinceMs >= stallTimeoutMs ? { why, detail } : undefined;
  }

  #silent(): Trouble {
    return { why: 'silent', detail: `it stalled: no byte for ${Math.round(this.#silentMs)} ms (failoverAfterMs)` };
  }

  #countSilence(now: number): void {
    const { bytes } = this.#monitor;
    const passedMs = Math.min(now - (this.#lookedAt ?? now), 2 * WATCH_MS);
    this.#silentMs =
      bytes === this.#bytes ? this.#silentMs + passedMs : Math.min(this.#monitor.silentMs(now), passedMs);
    this.#bytes = bytes;
    this.#lookedAt = now;
  }
}
