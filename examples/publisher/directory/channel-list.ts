import type { ChannelOverride } from '../config/schema.ts';
import type { ChannelIds } from './channel-ids.ts';
import type { ChannelProvider, DirectoryEntry, Offer, ProviderKind, Source } from './directory.ts';

/** What one provider says of a channel, and until when that counts. */
export interface Contribution {
  readonly provider: ChannelProvider;
  readonly offer: Offer;
  readonly updatedAt: Date;
  readonly expiresAt: Date;
}

export interface Composition {
  readonly entries: readonly DirectoryEntry[];
  readonly providers: ReadonlyMap<DirectoryEntry, ReadonlySet<ChannelProvider>>;
  /** Who has an id or a number; disabled channels keep theirs. */
  readonly taken: ReadonlyMap<string, ProviderKind>;
  /** Overrides that name no channel. */
  readonly unused: readonly string[];
}

type Overrides = Readonly<Record<string, ChannelOverride>>;
type Group = readonly [Contribution, ...Contribution[]];

/**
 * The channels that all providers have together, in their order. Offers that are the same channel become one, whose
 * sources are in the order of the providers. Every channel gets an id of its own, which it keeps; then comes what the
 * operator wants otherwise.
 */
export function compose(all: readonly Contribution[], ids: ChannelIds, overrides: Overrides): Composition {
  const named = withIds(groupsOf(all), ids);
  const taken = new Map<string, ProviderKind>();
  const used = new Set<string>();
  const providers = new Map<DirectoryEntry, ReadonlySet<ChannelProvider>>();
  for (const [id, group] of named) {
    const entry = withOwnNumber(entryOf(id, group), taken);
    const wanted = overrideOf(entry, overrides, used);
    const changed = overridden(entry, wanted);
    for (const name of [id, entry.number, changed.number]) if (name && !taken.has(name)) taken.set(name, kindOf(group));
    if (wanted.enabled !== false) providers.set(changed, new Set(group.map(({ provider }) => provider)));
  }
  const unused = Object.keys(overrides).filter((name) => !used.has(name));
  return { entries: [...providers.keys()], providers, taken, unused };
}

function groupsOf(all: readonly Contribution[]): readonly Group[] {
  const groups = Map.groupBy(all, (contribution) => contribution.offer.sameAs ?? contribution);
  return [...groups.values()] as unknown as Group[];
}

/** Those that had an id choose first: people have it in their players. */
function withIds(groups: readonly Group[], ids: ChannelIds): ReadonlyMap<string, Group> {
  const chosen = new Map<string, Group>();
  const waiting = groups.filter((group) => {
    const [had] = idsBefore(group, ids).filter((id) => !chosen.has(id));
    if (had !== undefined) chosen.set(had, group);
    return had === undefined;
  });
  for (const group of waiting) {
    const id = firstFree(group, chosen);
    if (id !== undefined) chosen.set(id, group);
  }
  const remembered = [...chosen].flatMap(([id, group]) =>
    isChosenByUs(group) ? owns(group).map((own) => [own, id] as const) : [],
  );
  ids.remember(new Map(remembered));
  const inOrder = new Map([...chosen].map(([id, group]) => [group, id]));
  return new Map(groups.flatMap((group) => (inOrder.has(group) ? [[inOrder.get(group) as string, group]] : [])));
}

/** The ids of the others are what somebody wrote. */
function isChosenByUs(group: Group): boolean {
  return kindOf(group) === 'device' || kindOf(group) === 'peer';
}

function idsBefore(group: Group, ids: ChannelIds): readonly string[] {
  if (kindOf(group) === 'configured') return [group[0].offer.ids[0]];
  if (kindOf(group) === 'announced') return [];
  return owns(group).flatMap((own) => ids.get(own) ?? []);
}

function owns(group: Group): readonly string[] {
  return group.map(({ offer }) => offer.ids.at(-1) as string);
}

/** An announced channel has its id or none: it never gets in the place of another, and is not called otherwise either. */
function firstFree(group: Group, taken: ReadonlyMap<string, Group>): string | undefined {
  const wanted = group.flatMap(({ offer }) => offer.ids);
  const free = wanted.find((id) => !taken.has(id));
  if (free !== undefined || kindOf(group) === 'announced') return free;
  for (let count = 2; ; count++) if (!taken.has(`${wanted[0]}-${count}`)) return `${wanted[0]}-${count}`;
}

function kindOf([{ provider }]: Group): ProviderKind {
  return provider.kind ?? 'configured';
}

/** It is as fresh as the freshest of what is said of it. */
function entryOf(id: string, group: Group): DirectoryEntry {
  const [{ offer, provider }] = group;
  const latest = (dates: readonly Date[]) => new Date(Math.max(...dates.map(Number)));
  return {
    ...offer,
    id,
    sources: group.flatMap(({ offer }) => offer.sources) as unknown as [Source, ...Source[]],
    favorite: group.some(({ offer }) => offer.favorite),
    hd: group.some(({ offer }) => offer.hd),
    available: group.some(({ offer }) => offer.available !== false),
    updatedAt: latest(group.map(({ updatedAt }) => updatedAt)),
    expiresAt: latest(group.map(({ expiresAt }) => expiresAt)),
    provider: provider.name,
    kind: kindOf(group),
  };
}

/** An announced channel never has the number of another, not even if it was announced before the other was known. */
function withOwnNumber(entry: DirectoryEntry, taken: ReadonlyMap<string, ProviderKind>): DirectoryEntry {
  const owner = taken.get(entry.number ?? '');
  const isTaken = entry.kind === 'announced' && owner !== undefined && owner !== 'announced';
  return isTaken ? { ...entry, number: null } : entry;
}

/** By its id before its number. */
function overrideOf({ id, number }: DirectoryEntry, overrides: Overrides, used: Set<string>): ChannelOverride {
  const names = [number, id].filter((name): name is string => name !== null && Object.hasOwn(overrides, name));
  for (const name of names) used.add(name);
  return Object.assign({}, ...names.map((name) => overrides[name]));
}

function overridden(entry: DirectoryEntry, override: ChannelOverride): DirectoryEntry {
  const { name, number, favorite, enabled, guide, profile, backup = [] } = override;
  return {
    ...entry,
    name: name ?? entry.name,
    number: number ?? entry.number,
    favorite: favorite ?? entry.favorite,
    guideId: guide ?? entry.guideId,
    profile: profile ?? entry.profile,
    ...((favorite ?? enabled) !== undefined && { settled: { favorite, enabled } }),
    sources: [...entry.sources, ...backup.map((url) => ({ url }))] as unknown as [Source, ...Source[]],
  };
}
