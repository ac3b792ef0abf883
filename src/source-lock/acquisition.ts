import { dirname, join, resolve } from 'node:path';
import type { LockHolder } from '../errors.ts';
import { AT_ONCE, type LockBackend, type LockPlace, type Patience, type TakenLock, type Tenure } from './backend.ts';
import { checkLocal, lockDirectory, prepareDirectory } from './directory.ts';
import { inDirectory } from './directory-error.ts';
import { lockFileName, sourceIdentities } from './key.ts';
import { networkFileSystem } from './network-file-system.ts';
import { type LockLocation, type Settings, warn } from './options.ts';

/** A source to be locked, by one of its identities or all of them. */
export type Source = string | URL | readonly (string | URL)[];

/** What has to be locked for a source. */
export interface Wanted {
  /** The key of the source that was given first. */
  readonly first: string;
  readonly keys: readonly string[];
  /** In sorted order. */
  readonly places: readonly LockPlace[];
}

/** Makes the lock directory where it is missing. */
export function wantedOf(source: Source, backend: LockBackend, settings: Settings): Wanted {
  const sources = [source].flat() as readonly (string | URL)[];
  if (sources.length === 0) throw new TypeError('a list of sources must not be empty');
  const identities = sources.map(identitiesOf);
  const first = (identities[0] as readonly Identity[])[0]?.key as string;
  if (settings.path !== undefined) {
    if (sources.length > 1) throw new TypeError(`path is for one source, received ${sources.length} of them`);
    return { first, keys: [first], places: [placeAt(settings.path, first, backend)] };
  }
  const directory = lockDirectory(settings.dir, backend.usesDirectory ? 'acquire' : 'look');
  if (backend.usesDirectory) prepareDirectory(directory, backend.name);
  if (backend.name === 'lease') for (const [{ key }] of identities) checkSameEverywhere(key, directory.path);
  if (directory.perUser && backend.usesDirectory)
    warn(settings.onWarning, { code: 'PER_USER_DIRECTORY', path: directory.path });
  const all = identities.length === 1 ? (identities[0] as readonly Identity[]) : identities.flat();
  const places = new Map(all.map(({ key, file }) => [key, { key, path: join(directory.path, file) }]));
  return {
    first,
    keys: [...new Set(identities.map(([{ key }]) => key))].sort(),
    places: [...places.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
  };
}

/** One identity of a source and the name of its lock file. */
interface Identity {
  readonly key: string;
  readonly file: string;
}

/** What URLs come to, by their text: it depends on nothing else, and takes half as long as the lock itself. */
const known = new Map<string, readonly [Identity, ...Identity[]]>();
const MOST_KNOWN = 1_000;

function identitiesOf(source: string | URL): readonly [Identity, ...Identity[]] {
  const before = typeof source === 'string' ? known.get(source) : undefined;
  if (before) return before;
  const [key, ...others] = sourceIdentities(source);
  const identify = (each: string) => ({ key: each, file: lockFileName(each) });
  const identities = [identify(key), ...others.map(identify)] as const;
  if (typeof source !== 'string' || !key.startsWith('url:')) return identities;
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(source, identities);
  return identities;
}

function placeAt(path: string, key: string, backend: LockBackend): LockPlace {
  const place = { key, path: resolve(path) };
  if (!backend.usesDirectory || backend.name === 'lease') return place;
  try {
    checkLocal(dirname(place.path));
  } catch (error) {
    throw inDirectory(dirname(place.path), error);
  }
  return place;
}

/** A file is known by its device, whose number on a network file system is another on each host. */
function checkSameEverywhere(key: string, directory: string): void {
  if (!key.startsWith('file:') || networkFileSystem(directory) === undefined) return;
  throw new TypeError('under the backend lease a file is locked by the option path, which is the same on all hosts');
}

/** Where to look for the lock of a source. */
export function placesToLook(source: Source, location: LockLocation): readonly LockPlace[] {
  const identities = ([source].flat() as readonly (string | URL)[]).flatMap(identitiesOf);
  const [first] = identities;
  if (location.path !== undefined) return first ? [{ key: first.key, path: resolve(location.path) }] : [];
  const { path } = lockDirectory(location.dir, 'look');
  return identities.map(({ key, file }) => ({ key, path: join(path, file) }));
}

/** A lock whose tenure has begun. */
export interface HeldLock extends Tenure {
  readonly lock: TakenLock;
}

type Outcome =
  | { readonly held: readonly HeldLock[] }
  | { readonly held?: undefined; readonly refused: { readonly key: string; readonly holder: LockHolder | undefined } };

/** All or none; the tenures begin when all are taken. With `patience` it waits for them. */
export async function takeAll(
  backend: LockBackend,
  places: readonly LockPlace[],
  command: string,
  patience: Patience | undefined,
): Promise<Outcome> {
  const taken = new Map<LockPlace, TakenLock>();
  try {
    let missing: LockPlace | undefined = places[0] as LockPlace;
    while (missing) {
      patience?.signal?.throwIfAborted();
      // Waiting for one while holding others could go on for ever, each waiting for the other's.
      const lock = await backend.take(missing, taken.size === 0 ? patience : patience && AT_ONCE);
      if (lock) taken.set(missing, lock);
      else if (patience && taken.size > 0) await releaseAll(taken);
      else return await refusal(backend, missing, taken);
      if (lock) missing = places.find((place) => !taken.has(place));
    }
    const locks = places.map((place) => taken.get(place) as TakenLock);
    const held: HeldLock[] = [];
    for (const lock of locks) held.push({ lock, ...(await lock.begin(command)) });
    return { held };
  } catch (error) {
    await releaseAll(taken).catch(() => {}); // the first error is the one to tell
    throw inDirectory(dirname((places[0] as LockPlace).path), error);
  }
}

async function refusal(backend: LockBackend, place: LockPlace, taken: Map<LockPlace, TakenLock>): Promise<Outcome> {
  await releaseAll(taken);
  const [holder] = await backend.inspect([place], { isRefused: true });
  return { refused: { key: place.key, holder } };
}

/** All, whatever one of them throws. */
async function releaseAll(taken: Map<LockPlace, TakenLock>): Promise<void> {
  const locks = [...taken.values()].toReversed();
  taken.clear();
  const releases = await Promise.allSettled(locks.map(async (lock) => lock.release()));
  const failed = releases.find((release) => release.status === 'rejected');
  if (failed) throw failed.reason;
}
