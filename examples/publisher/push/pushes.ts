import { isDeepStrictEqual } from 'node:util';
import { Counter, Gauge, type Registry } from '@prometheus-io/client';
import { Supervisor } from 'holdfast';
import type { PushConfig } from '../config/schema.ts';
import { Push, type PushState, type PushTerms, type PushView } from './push.ts';

type Configured = Readonly<Record<string, PushConfig>>;

/** A peer that is away is called again after some seconds, then less and less often. */
const RESTARTS = { intensity: 30, cooldownMs: 2_000, backoff: { minMs: 2_000, maxMs: 60_000 } } as const;

/** All pushes. They have a supervisor of their own, so that a peer that is away keeps no channel from being opened. */
export class Pushes implements AsyncDisposable {
  readonly #terms: PushTerms;
  readonly #supervisor = new Supervisor(RESTARTS);
  readonly #byId = new Map<string, Push>();
  readonly #stopping = new Set<Promise<void>>();
  #replaced = 0;

  constructor(configured: Configured, terms: PushTerms) {
    this.#terms = terms;
    this.configure(configured);
  }

  get views(): readonly PushView[] {
    return Array.from(this.#byId.values(), (push) => push.view());
  }

  /** Leaves those alone that did not change, but for those that were stopped. */
  configure(configured: Configured): void {
    for (const [id, push] of this.#byId) {
      const goesOn = push.state !== 'stopped' && isDeepStrictEqual(configured[id], push.config);
      if (!goesOn) this.#remove(id, push);
    }
    for (const [id, config] of Object.entries(configured)) if (!this.#byId.has(id)) this.#add(id, config);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#supervisor.close(), ...this.#stopping]);
  }

  #add(id: string, config: PushConfig): void {
    const service = `push ${id}${this.#stopping.size > 0 ? ` (${++this.#replaced})` : ''}`;
    this.#byId.set(id, new Push({ id, service }, config, this.#supervisor, this.#terms));
  }

  #remove(id: string, push: Push): void {
    this.#byId.delete(id);
    const stopping = push
      .stop()
      .catch((err) => this.#terms.log.error({ push: id, err }, `push ${id} did not end`))
      .finally(() => this.#stopping.delete(stopping));
    this.#stopping.add(stopping);
  }
}

const STATES: readonly PushState[] = ['waiting', 'opening', 'live', 'held-back', 'stopped'];

/** Shows the pushes at every scrape. */
export function observePushes(registry: Registry, pushes: Pushes): void {
  const registers = [registry];
  const gauge: Gauge<'state'> = new Gauge({
    ...{ name: 'publisher_pushes', help: 'Pushes by state', labelNames: ['state'], registers },
    collect() {
      for (const state of STATES) gauge.set({ state }, pushes.views.filter((view) => view.state === state).length);
    },
  });
  const bytes: Counter<'push'> = new Counter({
    ...{ name: 'publisher_push_bytes_total', help: 'Bytes sent by a push', labelNames: ['push'], registers },
    collect() {
      bytes.reset();
      for (const view of pushes.views) bytes.inc({ push: view.id }, view.bytes);
    },
  });
  const restarts: Counter<'push'> = new Counter({
    ...{ name: 'publisher_push_restarts_total', help: 'Restarts of a push', labelNames: ['push'], registers },
    collect() {
      restarts.reset();
      for (const view of pushes.views) restarts.inc({ push: view.id }, view.restarts);
    },
  });
}
