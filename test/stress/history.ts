// The journal of a storm, told by attempt and by process.
import type { AttemptId, Entry, Named } from './journal.ts';

/** What has not happened is at Infinity. All times are in ms. */
const NEVER: number = Number.POSITIVE_INFINITY;

interface Fighter {
  readonly number: number;
  pid: number;
  killingAt: number;
  deadAt: number;
  /** When it was stopped or its event loop blocked. */
  readonly stuck: { readonly from: number; until: number }[];
}

/** An attempt to lock a source and what became of it. */
export interface Attempt {
  readonly id: AttemptId;
  readonly key: string;
  readonly timeoutMs: number;
  readonly fighter: Fighter;
  readonly calledAt: number;
  acquiredAt: number;
  fence: bigint;
  /** It begins to start a child that has the lock too. */
  tyingAt: number;
  child: number | undefined;
  releasingAt: number;
  releasedAt: number;
  refusedAt: number;
  /** The holder that the refusal named. */
  holder: Named | undefined;
  /** Until then another surely had the lock. */
  possiblyFrom: number;
  /** The next one has acquired it: whatever this one left behind is gone. */
  followedAt: number;
}

export interface Warning {
  readonly at: number;
  readonly by: Attempt;
  readonly of: Named;
}

/** All that happened with one source. */
export interface SourceHistory {
  readonly attempts: readonly Attempt[];
  /** Those that acquired it, in this order. */
  readonly tenures: readonly Attempt[];
  readonly warnings: readonly Warning[];
}

/** When it had the lock surely: from `acquiredAt` until then. */
export function surelyUntil({ releasingAt, fighter }: Attempt): number {
  return Math.min(releasingAt, fighter.killingAt);
}

/** When its process may have had the lock: from `possiblyFrom` until then. */
export function possiblyUntil({ releasedAt, refusedAt, fighter }: Attempt): number {
  return refusedAt === NEVER ? Math.min(releasedAt, fighter.deadAt) : 0;
}

/** It had the lock when its process was killed. */
export function hasDied({ acquiredAt, releasingAt, fighter }: Attempt): boolean {
  return acquiredAt < NEVER && releasingAt === NEVER && fighter.killingAt < NEVER;
}

/** It was killed while it acquired: whether it had the lock by then nobody can tell. */
export function isUndecided({ acquiredAt, refusedAt, fighter }: Attempt): boolean {
  return acquiredAt === NEVER && refusedAt === NEVER && fighter.killingAt < NEVER;
}

/** By source; the entries in the order of their times. */
export function historyOf(entries: readonly Entry[]): SourceHistory[] {
  const { attempts, warnings } = replay(entries);
  const warningsByKey = Map.groupBy(warnings, ({ by }) => by.key);
  return [...Map.groupBy(attempts, ({ key }) => key)].map(([key, ofKey]) => {
    const tenures = ofKey.filter(({ acquiredAt }) => acquiredAt < NEVER).sort((a, b) => a.acquiredAt - b.acquiredAt);
    let heldUntil = 0;
    for (const [index, tenure] of tenures.entries()) {
      tenure.possiblyFrom = Math.max(tenure.calledAt, heldUntil);
      tenure.followedAt = tenures[index + 1]?.acquiredAt ?? NEVER;
      heldUntil = Math.max(heldUntil, surelyUntil(tenure));
    }
    return { attempts: ofKey, tenures, warnings: warningsByKey.get(key) ?? [] };
  });
}

function replay(entries: readonly Entry[]): { attempts: Attempt[]; warnings: Warning[] } {
  const fighters = new Map<number, Fighter>();
  const attempts = new Map<AttemptId, Attempt>();
  const warnings: Warning[] = [];

  const fighterOf = (number: number): Fighter => {
    const fighter = fighters.get(number) ?? { number, pid: 0, killingAt: NEVER, deadAt: NEVER, stuck: [] };
    fighters.set(number, fighter);
    return fighter;
  };
  const unstick = ({ stuck }: Fighter, at: number) => {
    const last = stuck.at(-1);
    if (last) last.until = at;
  };

  for (const entry of entries) {
    const { at } = entry;
    const fighter = fighterOf('process' in entry ? entry.process : Number(entry.id.split('.')[0]));
    if (entry.what === 'calling') attempts.set(entry.id, newAttempt(entry, fighter));
    const attempt = 'id' in entry ? attempts.get(entry.id) : undefined;
    if (entry.what === 'started') fighter.pid = entry.pid;
    else if (entry.what === 'killing') fighter.killingAt = Math.min(fighter.killingAt, at);
    else if (entry.what === 'dead') fighter.deadAt = at;
    else if (entry.what === 'stopping' || entry.what === 'blocking') fighter.stuck.push({ from: at, until: NEVER });
    else if (entry.what === 'continued' || entry.what === 'unblocked') unstick(fighter, at);
    else if (!attempt) continue;
    else if (entry.what === 'acquired') Object.assign(attempt, { acquiredAt: at, fence: BigInt(entry.fence) });
    else if (entry.what === 'warned') warnings.push({ at, by: attempt, of: entry.of });
    else if (entry.what === 'tying') attempt.tyingAt = at;
    else if (entry.what === 'tied') attempt.child = entry.child;
    else if (entry.what === 'releasing') attempt.releasingAt = at;
    else if (entry.what === 'released') attempt.releasedAt = at;
    else if (entry.what === 'refused') Object.assign(attempt, { refusedAt: at, holder: entry.holder });
  }
  return { attempts: [...attempts.values()], warnings };
}

function newAttempt({ id, key, timeoutMs, at }: Entry & { what: 'calling' }, fighter: Fighter): Attempt {
  return {
    id,
    key,
    timeoutMs,
    fighter,
    calledAt: at,
    possiblyFrom: at,
    acquiredAt: NEVER,
    fence: 0n,
    tyingAt: NEVER,
    child: undefined,
    releasingAt: NEVER,
    releasedAt: NEVER,
    refusedAt: NEVER,
    holder: undefined,
    followedAt: NEVER,
  };
}
