// What is said of a channel, in the same words wherever it is said.
import { durationOf, hourOf, timeOf } from './format.js';
import { isActive } from './model.js';

const STATES = { idle: 'Idle', opening: 'Opening', live: 'Live', closing: 'Closing', closed: 'Closed' };

const REFUSALS = {
  'circuit-open': 'it failed too often',
  storm: 'too many sources fail at once',
  cooldown: 'it failed a moment ago',
  backoff: 'it failed again and again',
};

export const stateOf = (view) => (view.available === false && !isActive(view) ? 'unavailable' : view.state);

export const stateText = (view, nowMs) => {
  if (stateOf(view) === 'unavailable') return 'Not available';
  const since = view.state === 'live' && view.liveSince ? ` ${durationOf(nowMs - Date.parse(view.liveSince))}` : '';
  return `${STATES[view.state] ?? view.state}${since}`;
};

/** Why the next opening is held back, and for how long yet; undefined if it is not. */
export const refusalText = ({ refusal }, nowMs) => {
  if (!refusal) return undefined;
  const leftMs = Date.parse(refusal.retryAt) - nowMs;
  const when = leftMs > 0 ? `in ${durationOf(leftMs + 999)}` : 'now';
  return `Can be opened again ${when}: ${REFUSALS[refusal.why] ?? refusal.why}`;
};

export const isHeldByAnother = (view) => Boolean(view.holder) && !isActive(view);

export const holderText = (holder) => {
  const program = holder.command.split(/\s/, 1)[0].split('/').at(-1);
  const where = holder.host ? ` on ${holder.host}` : '';
  return `${program}, pid ${holder.pid}${where}, since ${timeOf(holder.startedAt)}`;
};

export const orphanText = (holder) =>
  holder.orphanOf === undefined
    ? ''
    : `Left behind by process ${holder.orphanOf}, which is gone. It still holds the source.`;

export const isFaulty = (view) =>
  stateOf(view) === 'unavailable' || isHeldByAnother(view) || Boolean(view.lastError) || Boolean(view.refusal);

const programmeText = ({ title, stop }) => (stop ? `${title} · until ${hourOf(stop)}` : title);

export const programmesText = ({ programme }) => {
  const now = programme?.now ? programmeText(programme.now) : '';
  const next = programme?.next ? `Next: ${programme.next.title}` : '';
  return [now, next].filter(Boolean).join('\n');
};

/** The one thing to know of it now, and whether it is a fault. */
export const noteOf = (view, nowMs) => {
  const error = view.lastError?.title;
  const refusal = refusalText(view, nowMs);
  if (refusal) return { text: error ? `${error}\n${refusal}` : refusal, kind: 'bad' };
  if (isHeldByAnother(view)) {
    const who = view.holder.orphanOf === undefined ? 'Held by another process' : 'Held by an orphan';
    return { text: `${who}\n${holderText(view.holder)}`, kind: 'warn' };
  }
  if (error) return { text: `${error}\n${view.lastError.advice ?? view.lastError.detail}`, kind: 'bad' };
  return { text: programmesText(view) || (view.reading?.source ?? view.source ?? ''), kind: 'plain' };
};
