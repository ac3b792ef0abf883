// Whether all that was said in a storm is true, by its journal.
import {
  type Attempt,
  hasDied,
  historyOf,
  isUndecided,
  possiblyUntil,
  type SourceHistory,
  surelyUntil,
  type Warning,
} from './history.ts';
import type { Entry, Named } from './journal.ts';

const FAULTS = [
  'double', // by the referee
  'overlap', // two tenures at once, by the journal
  'wrongName', // one that did not hold the source at any time of the call
  'unnamed',
  'missingWarning',
  'repeatedWarning',
  'unfoundedWarning', // of a tenure that was released, or whose process lived
  'fenceNotGrown',
  'failed', // any other error
  'crashed',
] as const;
type Faults = Record<(typeof FAULTS)[number], unknown[]>;

export interface Verdict {
  readonly acquired: number;
  readonly refused: number;
  /** Of the refused: how many had waited. */
  readonly timedOut: number;
  readonly kills: number;
  readonly stops: number;
  readonly blocks: number;
  readonly ties: number;
  /** Tenures that SIGKILL ended and others followed. */
  readonly deaths: number;
  readonly warnings: number;
  /** Deaths of which nobody told, since who followed was killed too, in the middle of acquiring. */
  readonly untold: number;
  /** What must not be, each with what it takes to look into it. */
  readonly faults: Readonly<Faults>;
  /** How long the patient waited that could run, in ms, without the time in which the holder could not, or was an orphan. */
  readonly waits: { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number };
}

export function isClean({ faults }: Verdict): boolean {
  return Object.values(faults).every((found) => found.length === 0);
}

export function judge(journal: readonly Entry[]): Verdict {
  const entries = journal.toSorted((a, b) => a.at - b.at);
  const faults = Object.fromEntries(FAULTS.map((fault) => [fault, []])) as unknown as Faults;
  for (const entry of entries) if (entry.what === 'double' || entry.what === 'failed') faults[entry.what].push(entry);
  const killed = new Set(entries.flatMap((entry) => (entry.what === 'killing' ? entry.process : [])));
  for (const entry of entries) if (entry.what === 'dead' && !killed.has(entry.process)) faults.crashed.push(entry);

  const sources = historyOf(entries);
  let [deaths, untold] = [0, 0];
  for (const source of sources) {
    judgeOrder(source, faults);
    judgeNames(source, faults);
    const told = judgeWarnings(source, faults);
    for (const { tenure, next } of deathsOf(source)) {
      deaths += 1;
      if (told.has(tenure)) continue;
      if (isToldOfAnother(source, tenure, next)) untold += 1;
      else faults.missingWarning.push({ of: tenure.id, from: next.id, key: tenure.key, at: next.acquiredAt });
    }
  }
  const count = (what: Entry['what']) => entries.filter((entry) => entry.what === what).length;
  const attempts = sources.flatMap((source) => source.attempts);
  return {
    acquired: count('acquired'),
    refused: count('refused'),
    timedOut: attempts.filter(({ refusedAt, timeoutMs }) => refusedAt < Infinity && timeoutMs > 0).length,
    kills: killed.size,
    stops: count('stopping'),
    blocks: count('blocking'),
    ties: count('tied'),
    deaths,
    warnings: count('warned'),
    untold,
    faults,
    waits: distribution(sources),
  };
}

function judgeOrder({ tenures }: SourceHistory, { overlap, fenceNotGrown }: Faults): void {
  let last: Attempt | undefined;
  for (const tenure of tenures) {
    if (last && surelyUntil(last) > tenure.acquiredAt)
      overlap.push({ key: tenure.key, one: last.id, other: tenure.id });
    if (last && last.fence >= tenure.fence) fenceNotGrown.push({ key: tenure.key, one: last.id, other: tenure.id });
    if (!last || surelyUntil(tenure) > surelyUntil(last)) last = tenure;
  }
}

function judgeNames(source: SourceHistory, { wrongName, unnamed }: Faults): void {
  const byPid = Map.groupBy(source.attempts, ({ fighter }) => fighter.pid);
  for (const attempt of source.attempts) {
    const { holder, id, key, calledAt, refusedAt, timeoutMs } = attempt;
    if (refusedAt === Infinity) continue;
    // Who waits looks for the holder when its time is over.
    const looked = { from: calledAt + timeoutMs, until: refusedAt };
    if (!holder) unnamed.push({ id, key, looked });
    else if (!byPid.get(holder.orphanOf ?? holder.pid)?.some((named) => isHolder(named, holder, looked))) {
      wrongName.push({ id, key, looked, holder });
    }
  }
}

interface Span {
  readonly from: number;
  readonly until: number;
}

/** Whether what was said of the holder is true of this attempt. */
function isHolder(attempt: Attempt, holder: Named, looked: Span): boolean {
  if (holder.orphanOf !== undefined) return isOrphanOf(attempt, holder, looked);
  // Before it is written what the holder says of itself, the kernel knows its pid, but not for which attempt.
  if (holder.command !== attempt.id && holder.verified !== 'kernel') return false;
  return attempt.possiblyFrom <= looked.until && possiblyUntil(attempt) >= looked.from;
}

function isOrphanOf(attempt: Attempt, { pid, command }: Named, looked: Span): boolean {
  if (surelyUntil(attempt) > looked.until || attempt.followedAt < looked.from) return false;
  if (attempt.child !== undefined) return attempt.child === pid;
  // Killed before it could tell of the child that it was starting; one that locks for it is such a child too.
  const isUntold = attempt.tyingAt < Infinity || command.startsWith('flock -');
  return isUntold && attempt.fighter.killingAt <= looked.until && attempt.refusedAt === Infinity;
}

/** The attempts of whose death was told. */
function judgeWarnings(source: SourceHistory, { repeatedWarning, unfoundedWarning }: Faults): Set<Attempt> {
  const byId = new Map(source.attempts.map((attempt) => [attempt.id, attempt]));
  const told = new Set<Attempt>();
  for (const warning of source.warnings) {
    const { at, by, of } = warning;
    const dead = byId.get(of.command);
    const isFounded =
      dead && dead.fighter.killingAt < at && dead.releasedAt === Infinity && dead.refusedAt === Infinity;
    if (!isFounded) unfoundedWarning.push({ key: by.key, by: by.id, of });
    else if (told.has(dead)) repeatedWarning.push({ key: by.key, by: by.id, of });
    if (dead) told.add(dead);
  }
  return told;
}

function deathsOf({ tenures }: SourceHistory): { tenure: Attempt; next: Attempt }[] {
  return tenures.flatMap((tenure, index) => {
    const next = tenures[index + 1];
    return next && hasDied(tenure) ? { tenure, next } : [];
  });
}

/** Whether between the two another had the lock and was killed before it could tell: then it is told of that one. */
function isToldOfAnother({ attempts, warnings }: SourceHistory, tenure: Attempt, next: Attempt): boolean {
  const isOfNext = ({ by }: Warning) => by === next;
  const others = attempts.filter((each) => isUndecided(each) && each.fighter.deadAt > tenure.fighter.killingAt);
  return warnings.filter(isOfNext).some(({ of }) => others.some(({ id }) => id === of.command));
}

/** Those with less patience give up before it gets interesting. */
const PATIENT_MS = 10_000;

function distribution(sources: readonly SourceHistory[]): Verdict['waits'] {
  const waits = sources.flatMap(waitsFor).sort((a, b) => a - b);
  const quantile = (part: number) => Math.round(waits[Math.floor((waits.length - 1) * part)] ?? 0);
  return { count: waits.length, p50: quantile(0.5), p99: quantile(0.99), max: quantile(1) };
}

/** Of those killed while they waited too, up to then. */
function waitsFor(source: SourceHistory): number[] {
  const patient = source.attempts.filter(({ timeoutMs }) => timeoutMs >= PATIENT_MS);
  const waits = patient.map(({ fighter, calledAt, acquiredAt, refusedAt }) => {
    const wait = { from: calledAt, until: Math.min(acquiredAt, refusedAt, fighter.killingAt) };
    return { wait, couldRun: !fighter.stuck.some((stuck) => length(common(stuck, wait)) > 0) };
  });
  const obstructions = obstructionsOf(source);
  return waits
    .filter(({ couldRun }) => couldRun)
    .map(({ wait }) => obstructions.reduce((left, each) => left - length(common(each, wait)), length(wait)));
}

/** When the lock was held by one that could not let go. */
function obstructionsOf({ attempts, tenures }: SourceHistory): Span[] {
  const stuckHolders = tenures.flatMap((tenure) => {
    const held = { from: tenure.possiblyFrom, until: possiblyUntil(tenure) };
    return tenure.fighter.stuck.map((stuck) => common(stuck, held));
  });
  const orphans = tenures.map((tenure) => ({
    from: surelyUntil(tenure),
    until: tenure.tyingAt < Infinity ? tenure.followedAt : 0,
  }));
  // Stopped in the instant between getting the lock and telling of it, and killed then: nobody else got it meanwhile.
  const undecided = attempts.filter(isUndecided).flatMap(({ fighter, calledAt }) => {
    const spans = fighter.stuck.map((stuck) => common(stuck, { from: calledAt, until: fighter.deadAt }));
    return spans.filter(
      ({ from, until }) => !tenures.some(({ acquiredAt }) => acquiredAt > from && acquiredAt < until),
    );
  });
  return [...stuckHolders, ...orphans, ...undecided];
}

function common(one: Span, other: Span): Span {
  return { from: Math.max(one.from, other.from), until: Math.min(one.until, other.until) };
}

function length({ from, until }: Span): number {
  return Math.max(0, until - from);
}
