import { holderText } from './channel-words.js';
import { durationOf, plural, timeOf } from './format.js';
import { element, fromTemplate, place, setAttribute, setShown, setText } from './page.js';

/** The publisher itself, who holds locks, what was left behind, and what is sent elsewhere. */
export function showSystem(model) {
  showHealth(model);
  rows('locks', byHolder(model.locks), ({ holder, keys }) => ({
    key: `${holder.host} ${holder.pid}`,
    title: keys.join('\n'),
    ...lockRow(holder, model.publisher),
  }));
  rows('orphans', model.orphans, (orphan) => ({
    key: `${orphan.pid} ${orphan.startedAt}`,
    title: `pid ${orphan.pid}`,
    detail: `since ${timeOf(orphan.startedAt)}; its owner, pid ${orphan.ownerPid}, is gone. End it with: holdfast orphans --kill`,
    command: orphan.command,
    kind: 'bad',
  }));
  rows('pushes', model.pushes, (push) => ({
    key: push.id,
    title: `${push.channel ?? push.id} → ${push.url ?? ''}`,
    detail: [push.state, push.profile, push.why].filter(Boolean).join(' · '),
    kind: push.why ? 'bad' : 'plain',
  }));
  const faults = model.orphans.length + (model.publisher?.unready.length ?? 0);
  setShown(element('system-count'), faults > 0);
  setText(element('system-count'), faults > 0 ? String(faults) : '');
  setAttribute(element('system-count'), 'title', faults > 0 ? plural(faults, 'fault') : '');
}

/** Its own command says nothing that is not known; that of another tells what it is. */
function lockRow(holder, publisher) {
  const { host, pid, orphanOf, command } = holder;
  const who = holderText(holder);
  if (orphanOf !== undefined) return { detail: `${who} · left behind by pid ${orphanOf}`, command, kind: 'bad' };
  if (pid === publisher?.pid && host === publisher?.host) return { detail: `This publisher: ${who}`, kind: 'plain' };
  return { detail: `Another process: ${who}`, command, kind: 'warn' };
}

/** One process may hold many, a source under each of its names. */
function byHolder(locks) {
  const groups = Map.groupBy(locks, ({ host, pid }) => `${host} ${pid}`);
  return [...groups.values()].map((group) => ({ holder: group[0], keys: group.map(({ key }) => key) }));
}

export function tickSystem({ publisher, nowMs }) {
  if (publisher) setText(element('health-uptime'), durationOf(nowMs - Date.parse(publisher.startedAt)));
}

function showHealth(model) {
  const { publisher } = model;
  if (!publisher) return;
  const { unready, version, deviceId, operable, demo } = publisher;
  const isReady = unready.length === 0;
  setShown(element('demo'), demo);
  setAttribute(element('health'), 'data-state', isReady ? 'live' : 'unavailable');
  setText(element('health-text'), isReady ? 'Ready' : 'Not ready');
  setShown(element('health-reasons'), !isReady);
  place(
    element('health-reasons'),
    unready.map((reason, index) => {
      const item = element('health-reasons').children[index] ?? document.createElement('li');
      setText(item, reason);
      return item;
    }),
  );
  setText(element('health-version'), version);
  setText(element('health-discovery'), deviceId ? `HDHomeRun ${deviceId}` : 'does not answer as an HDHomeRun');
  setText(
    element('health-operable'),
    operable ? 'with the operator token' : 'read-only: no operator token is configured',
  );
  tickSystem(model);
}

const shown = new Map();

/** Keeps the row of what is still there, so that a selection or focus in it stays. */
function rows(id, items, describe) {
  const known = shown.get(id) ?? new Map();
  const next = new Map();
  for (const item of items) {
    const { key, title, detail, command, kind } = describe(item);
    const parts = known.get(key) ?? fromTemplate('row-template');
    setText(parts.title, title);
    setText(parts.detail, detail);
    setText(parts.command, command ?? '');
    setShown(parts.command, Boolean(command));
    setAttribute(parts.root, 'data-kind', kind);
    next.set(key, parts);
  }
  shown.set(id, next);
  place(
    element(id),
    [...next.values()].map(({ root }) => root),
  );
  setShown(element(id), next.size > 0);
  setShown(element(`${id}-empty`), next.size === 0);
}
