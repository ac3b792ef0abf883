import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../log.ts';
import { JsonFile } from '../state/json-file.ts';
import type { PullRecord, PullRecords } from './guide-pull.ts';

const record: z.ZodType<PullRecord> = z.object({
  etag: z.string().optional(),
  lastModified: z.string().optional(),
  pulledAt: z.number(),
  nextAt: z.number(),
  asks: z.string().optional(),
});

/** A source that is looked at more often than this is not written down each time. */
const SELDOM_MS = 600_000;

/** When each source was pulled last and is to be pulled next: a restart is no reason to ask a service again. */
export class GuideRecords implements PullRecords {
  readonly #file: JsonFile<Record<string, PullRecord>>;
  readonly #byId: Map<string, PullRecord>;

  constructor(dir: string, log: Logger) {
    this.#file = new JsonFile(join(dir, 'pulls.json'), z.record(z.string(), record), log);
    this.#byId = new Map(Object.entries(this.#file.read() ?? {}));
  }

  get(id: string): PullRecord | undefined {
    return this.#byId.get(id);
  }

  set(id: string, now: PullRecord): void {
    const before = this.#byId.get(id);
    this.#byId.set(id, now);
    const isSame = before?.etag === now.etag && before?.lastModified === now.lastModified;
    if (!isSame || now.nextAt - now.pulledAt >= SELDOM_MS) void this.#file.write(Object.fromEntries(this.#byId));
  }

  /** Forgets all others. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#byId.keys()) if (!ids.has(id)) this.#byId.delete(id);
  }

  settled(): Promise<void> {
    return this.#file.settled();
  }
}
