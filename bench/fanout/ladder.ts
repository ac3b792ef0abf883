import type { Tools } from './build.ts';
import { measure, type Sample } from './measure.ts';
import type { Feed, StartServer } from './servers.ts';

/** Numbers of clients, each an eighth more than the one before. */
const RUNGS: readonly number[] = Array.from({ length: 38 }, (_, rung) => Math.round(64 * 1.125 ** rung));
const TIMES = { warmUpSeconds: 5, seconds: 4 };
/** Two percent of the time are two slices. */
const WHOLE = 0.98;

/** How far one way got. */
export interface Held {
  /** The most clients who all got the whole source. */
  readonly clients: number;
  readonly tries: readonly { readonly clients: number; readonly sample: Sample | undefined }[];
}

/** Looks for the most clients that a server can hold, by halves. */
export async function mostClients(start: StartServer, tools: Tools, feed: Feed): Promise<Held> {
  const tries: { clients: number; sample: Sample | undefined }[] = [];
  let [held, missed] = [-1, RUNGS.length];
  while (missed - held > 1) {
    const rung = Math.floor((held + missed) / 2);
    const clients = RUNGS[rung] as number;
    // One that ends, or can't be reached any more, does not hold them.
    const sample = await measure(start, tools, feed, { clients }, TIMES).catch(() => undefined);
    tries.push({ clients, sample });
    if (sample && sample.leastShare >= WHOLE) held = rung;
    else missed = rung;
  }
  return { clients: RUNGS[held] ?? 0, tries };
}
