import { RestartRefusedError, redactCredentials } from 'holdfast';
import { NoTunerError, SourcesFailedError } from '../errors.ts';
import { failureOf } from '../failure.ts';
import { type Blame, blameOf } from '../failure-kinds.ts';
import { BUSY_RETRY_MS } from './reopening.ts';
import type { ListedSource } from './source-entry.ts';
import { isOfChannel } from './source-identity.ts';
import type { SourceList } from './source-list.ts';

/** A source that was opened in vain. */
export interface Tried {
  readonly listed: ListedSource;
  readonly error: unknown;
}

/** Whose errors tell a viewer most, the first of them first. */
const TELLING: readonly Blame[] = ['here', 'process', 'elsewhere', 'source', 'nobody'];

/** That it is not tried now tells less than what it, or another, failed with. */
const isTelling = (error: unknown) => !(error instanceof RestartRefusedError);

/** What a viewer is told when none could be opened: of one source its own error, of several what each of them said. */
export function outcomeOf(tried: readonly Tried[], id: string, list: SourceList): unknown {
  const telling =
    TELLING.map((blame) => tried.find(({ error }) => isTelling(error) && blameOf(error) === blame)).find(Boolean) ??
    tried[0];
  if (!telling) return refusalOf(id, list);
  if (list.all.length === 1) return telling.error;
  const duplicate = tried.find(({ error }) => isOfChannel(error));
  if (duplicate && blameOf(telling.error) !== 'here') return duplicate.error;
  const errors = new Map(tried.map(({ listed, error }) => [listed.key, failureOf(error).detail]));
  const said = list.states(performance.now()).flatMap(({ listed, said }) => {
    const detail = errors.get(listed.key) ?? said?.detail;
    return detail === undefined ? [] : [`${redactCredentials(listed.source.url)}: ${detail}`];
  });
  return new SourcesFailedError(id, said, telling.error);
}

/** None was tried. */
function refusalOf(id: string, list: SourceList): Error {
  const now = performance.now();
  const verdict = list.verdict(now);
  const busy = list.states(now).find(({ state }) => state === 'busy')?.said;
  if (verdict.allowed) return new RestartRefusedError(id, 'backoff', BUSY_RETRY_MS);
  const { why, retryAfterMs } = verdict;
  if (why !== 'busy') return new RestartRefusedError(id, why, retryAfterMs);
  if (busy?.error !== undefined && !(busy.error instanceof NoTunerError)) return busy.error as Error;
  return new NoTunerError(id, busy?.deviceError ?? '805 All Tuners In Use', retryAfterMs, undefined);
}
