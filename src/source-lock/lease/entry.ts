import { randomUUID } from 'node:crypto';
import { fenceAfter } from '../fence.ts';

/** Who has the lock, as the name of the entry in its lease directory says. */
export interface Entry {
  /** Of the tenure that has the lock, or had it last. */
  readonly fence: bigint;
  /** Of the tenure that has the lock; undefined if it is free. */
  readonly token?: string | undefined;
}

export interface HeldEntry extends Entry {
  readonly token: string;
}

export function isHeld(entry: Entry): entry is HeldEntry {
  return entry.token !== undefined;
}

const NAME = /^(?:free\.(\d{1,30})|held\.(\d{1,30})\.([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}))$/;

export function entryName({ fence, token }: Entry): string {
  return token === undefined ? `free.${fence}` : `held.${fence}.${token}`;
}

/** Undefined if the name is none of an entry. */
export function parseEntry(name: string): Entry | undefined {
  const [, free, held, token] = NAME.exec(name) ?? [];
  const fence = free ?? held;
  return fence === undefined ? undefined : { fence: BigInt(fence), token };
}

/** The fence grows also after a crash: the last one is in the name. */
export function nextTenure({ fence }: Entry): HeldEntry {
  return { fence: fenceAfter(fence), token: randomUUID() };
}
