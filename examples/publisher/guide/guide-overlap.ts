/** When something is on; an end that is unknown is that of what follows. */
export interface Span {
  readonly startMs: number;
  readonly stopMs?: number | undefined;
}

/** So long is something on of which neither the end nor what follows is known. */
const DEFAULT_LENGTH_MS = 30 * 60_000;

/**
 * One schedule of several for the same channel, the dearest first. In each, the first of what begins at the same time
 * stays, and what begins earlier ends where the next begins. Of the others only what is on while the dearer have nothing.
 */
export function oneSchedule<T extends Span>(schedules: readonly (readonly T[])[]): (T & { readonly stopMs: number })[] {
  const [dearest = [], ...others] = schedules.map(withEnds);
  let all = dearest;
  for (const other of others) all = merged(all, other);
  return all;
}

type Ended<T> = T & { readonly stopMs: number };

function withEnds<T extends Span>(schedule: readonly T[]): Ended<T>[] {
  const sorted = schedule.toSorted((one, other) => one.startMs - other.startMs);
  const distinct = sorted.filter(({ startMs }, index) => startMs !== sorted[index - 1]?.startMs);
  return distinct.map((each, index) => {
    const nextMs = distinct[index + 1]?.startMs ?? Number.POSITIVE_INFINITY;
    const { startMs, stopMs = nextMs === Number.POSITIVE_INFINITY ? startMs + DEFAULT_LENGTH_MS : nextMs } = each;
    return { ...each, stopMs: Math.min(stopMs, nextMs) };
  });
}

/** Both are in order and free of overlaps, and so is what becomes of them. */
function merged<T extends Span>(dear: readonly Ended<T>[], other: readonly Ended<T>[]): Ended<T>[] {
  let at = 0;
  const added = other.filter(({ startMs, stopMs }) => {
    while (at < dear.length && (dear[at] as Ended<T>).stopMs <= startMs) at += 1;
    const next = dear[at];
    return next === undefined || next.startMs >= stopMs;
  });
  return added.length === 0 ? [...dear] : [...dear, ...added].sort((one, another) => one.startMs - another.startMs);
}
