import { z } from 'zod';
import { CHANNEL_ID, idForm } from '../config/schema.ts';
import type { ChannelProvider, Directory, Offer } from './directory.ts';

const MAX_ANNOUNCED = 1_000;
/** What is announced within so long is listed together: with each, all that are listed are looked at. */
const TOGETHER_MS = 100;
const urlForm = 'an http(s) URL of up to 2048 characters';
const numberForm = 'a number such as "5.1": up to 32 letters, digits, and . _ -';

/** What another publisher says of a channel that it has. */
export const announcement: z.ZodType<Announcement> = z.strictObject({
  name: z.string('a text').trim().min(1, 'a text').max(512, 'a text of up to 512 characters'),
  number: z
    .string(numberForm)
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/, numberForm)
    .nullable()
    .default(null),
  url: z.url({ protocol: /^https?$/, error: urlForm }).max(2_048, urlForm),
  ttlSeconds: z.int('a whole number from 5 to 86400').min(5, 'at least 5').max(86_400, 'at most 86400').default(30),
  via: z.array(z.string().max(64)).max(32).default([]),
});

export interface Announcement {
  readonly name: string;
  readonly number: string | null;
  readonly url: string;
  readonly ttlSeconds: number;
  /** The publishers it came through before, each by its instance. */
  readonly via: readonly string[];
}

export interface Refused {
  readonly status: 400 | 404 | 409 | 429;
  readonly title: string;
  readonly detail: string;
}

interface Announced {
  readonly offer: Offer;
  readonly expiresAt: Date;
}

/**
 * The channels that other publishers announce. Each is gone when its time is over, unless it is announced again. None gets
 * the id or the number of a channel that is configured, in a lineup or of a peer.
 */
export class Announcements implements ChannelProvider, Disposable {
  readonly name = 'announced';
  readonly key = 'announced';
  readonly kind = 'announced';
  readonly #instance: string;
  readonly #byId = new Map<string, Announced>();
  #directory: Directory | undefined;
  #timer: NodeJS.Timeout | undefined;
  #carrying: Promise<void> | undefined;
  #isClosed = false;

  /** @param instance of this publisher */
  constructor(instance: string) {
    this.#instance = instance;
  }

  /** To be told before anything is announced. */
  set directory(directory: Directory) {
    this.#directory = directory;
  }

  get size(): number {
    return this.#byId.size;
  }

  async offers(): Promise<readonly Offer[]> {
    const now = new Date();
    for (const [id, { expiresAt }] of this.#byId) if (expiresAt <= now) this.#byId.delete(id);
    return [...this.#byId.values()].map(({ offer }) => offer);
  }

  /** Adds or renews a channel; resolves to whether it is new, or why it may not be. */
  async put(id: string, { name, number, url, ttlSeconds, via }: Announcement): Promise<'new' | 'renewed' | Refused> {
    const refused = this.#refusalOf(id, number, via);
    if (refused) return refused;
    const isNew = !this.#byId.has(id);
    const updatedAt = new Date();
    const expiresAt = new Date(updatedAt.getTime() + ttlSeconds * 1_000);
    const offer: Offer = { ids: [id], name, number, sources: [{ url }], via, updatedAt, expiresAt };
    this.#byId.set(id, { offer, expiresAt });
    await this.#changed();
    return isNew ? 'new' : 'renewed';
  }

  /** Whether there was one. */
  async delete(id: string): Promise<boolean> {
    const was = this.#byId.delete(id);
    if (was) await this.#changed();
    return was;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #refusalOf(id: string, number: string | null, via: readonly string[]): Refused | undefined {
    if (!CHANNEL_ID.test(id)) return refusal(400, 'Bad id', `the id in the path must be ${idForm}`);
    if (via.includes(this.#instance)) return refusal(409, 'A circle', 'this channel comes from this publisher');
    for (const name of [id, ...(number === null ? [] : [number])]) {
      const kind = this.#directory?.kindOf(name);
      if (kind === undefined || kind === 'announced') continue;
      return refusal(409, 'Taken', `${name} is a channel of this publisher that is ${WHOSE[kind]}; choose another`);
    }
    if (this.#byId.size < MAX_ANNOUNCED || this.#byId.has(id)) return undefined;
    return refusal(429, 'Too many', `${MAX_ANNOUNCED} channels are announced here already; delete some first`);
  }

  /** Resolves when it is listed. */
  #changed(): Promise<void> {
    this.#carrying ??= this.#carryOn();
    return this.#carrying;
  }

  async #carryOn(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, TOGETHER_MS));
    this.#carrying = undefined;
    await this.#directory?.refresh(this);
    clearTimeout(this.#timer);
    const next = Math.min(...[...this.#byId.values()].map(({ expiresAt }) => Number(expiresAt)));
    if (this.#isClosed || next === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => void this.#changed(), Math.max(0, next - Date.now()) + 1);
    this.#timer.unref();
  }
}

const WHOSE = { configured: 'configured', device: 'in the lineup of a device', peer: 'listed by a peer' } as const;

function refusal(status: Refused['status'], title: string, detail: string): Refused {
  return { status, title, detail };
}
