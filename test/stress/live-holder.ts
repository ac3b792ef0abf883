// Holders that live but do not run as they should: stopped, blocked, or by a clock that was set. Nobody may follow them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Attempt, RemoteLock } from '../support/remote-lock.ts';
import { type SettableClock, settableClock } from '../support/settable-clock.ts';

const HOUR = 3_600;

interface LiveHolderResult {
  /** What the holders suffered from. */
  readonly holders: readonly string[];
  /** The clocks by which others tried, in seconds off the true time. */
  readonly clocks: readonly number[];
  refused: number;
  /** Holders that somebody followed. */
  readonly broken: string[];
  /** Refusals that did not name the holder. */
  readonly misnamed: string[];
}

interface Holder {
  readonly what: string;
  readonly lock: RemoteLock;
}

/** How many tries to take the lock of each such holder fail, in so many seconds. */
export async function heldFor(seconds: number, backend: 'kernel' | 'flock' = 'kernel'): Promise<LiveHolderResult> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-live-holder-'));
  const started: RemoteLock[] = [];
  try {
    return await tryAll(seconds, await cast(dir, backend, started));
  } finally {
    await Promise.all(started.map((lock) => lock.kill()));
    rmSync(dir, { recursive: true, force: true });
  }
}

interface Cast {
  readonly holders: readonly Holder[];
  readonly contenders: readonly { readonly clock: number; readonly lock: RemoteLock }[];
}

async function cast(dir: string, backend: 'kernel' | 'flock', started: RemoteLock[]): Promise<Cast> {
  const start = async (clock?: SettableClock) => {
    const request = { source: sourceOf('any'), options: { dir: join(dir, 'locks'), backend } };
    const lock = await RemoteLock.start(request, { env: clock?.env ?? {} });
    started.push(lock);
    return lock;
  };
  const hold = async (what: string, clock?: SettableClock): Promise<Holder> => {
    const lock = await start(clock);
    const { acquired, message } = await lock.acquire({ of: sourceOf(what) });
    if (!acquired) throw new Error(`${what} could not begin to hold: ${message}`);
    return { what, lock };
  };
  const holders = [await hold('stopped'), await hold('blocked')];
  holders[0]?.lock.stop();
  await holders[1]?.lock.tell('block');
  const contenders = [{ clock: 0, lock: await start() }];
  for (const [what, offset] of [['ahead', HOUR] as const, ['behind', -HOUR] as const]) {
    const clock = await settableClock(join(dir, `clock-${what}`));
    if (!clock) continue;
    holders.push(await hold(what, clock));
    contenders.push({ clock: offset, lock: await start(clock) });
    clock.set(offset);
  }
  return { holders, contenders };
}

function sourceOf(what: string): string {
  return `hdhomerun:1234ABC2/${what}`;
}

async function tryAll(seconds: number, { holders, contenders }: Cast): Promise<LiveHolderResult> {
  const result: LiveHolderResult = {
    holders: holders.map(({ what }) => what),
    clocks: contenders.map(({ clock }) => clock),
    refused: 0,
    broken: [],
    misnamed: [],
  };
  const count = ({ what, lock }: Holder, { acquired, holder }: Attempt) => {
    if (acquired) result.broken.push(what);
    else result.refused += 1;
    if (!acquired && holder?.pid !== lock.pid) result.misnamed.push(`${what} as ${holder?.pid}`);
  };
  const end = performance.now() + seconds * 1_000;
  const tryOn = async (contender: RemoteLock) => {
    while (performance.now() < end)
      for (const holder of holders) count(holder, await contender.acquire({ of: sourceOf(holder.what) }));
  };
  await Promise.all(contenders.map(({ lock }) => tryOn(lock)));
  return result;
}
