import { changeLock, type SetRequest, type TunerLock } from '../../hdhomerun/index.ts';
import type { Channel } from '../channel/channel.ts';

/** One viewer's use of a tuner; disposing of it ends that. */
export interface TunerUse extends Disposable {
  /** `tuner0` */
  readonly resource: string;
}

/** A tuner of this publisher, as players see it. */
export interface VirtualTuner {
  readonly resource: string;
  /** What it serves; undefined while it is idle. */
  readonly channel?: Channel | undefined;
  /** Who watches by it; of several, who came first. */
  readonly address?: string | undefined;
  /** Since it was last asked for. */
  readonly rateBps?: number | undefined;
  readonly lock?: TunerLock | undefined;
}

interface Slot {
  channel?: Channel | undefined;
  lock?: (TunerLock & { readonly lockKey: number }) | undefined;
  rate?: Rate | undefined;
  /** The addresses of those who watch by it. */
  readonly users: Map<TunerUse, string>;
}

/**
 * What players see as tuners: each open channel is one, however many watch it and by whatever output. Nothing is scarce
 * about them, so that `auto` always finds one; the tuners of real devices are behind the channels.
 */
export class VirtualTuners {
  readonly #channels: Iterable<Channel>;
  /** How many there are at least. */
  readonly #count: () => number;
  readonly #slots: Slot[] = [];

  constructor(channels: Iterable<Channel>, count: () => number) {
    this.#channels = channels;
    this.#count = count;
  }

  /** Whichever serves the channel, or a free one. */
  take(channel: Channel, address: string): TunerUse {
    this.#settle();
    const index = this.#indexFor(channel);
    return this.#use(index, channel, address);
  }

  /** That very tuner; undefined if it serves another channel, or another host has locked it. */
  takeNumber(index: number, channel: Channel, address: string): TunerUse | undefined {
    this.#settle();
    const { channel: served, lock } = this.#slots[index] as Slot;
    if ((served && served !== channel) || (lock && lock.address !== address)) return undefined;
    return this.#use(index, channel, address);
  }

  has(index: number): boolean {
    this.#settle();
    return index in this.#slots;
  }

  get states(): readonly VirtualTuner[] {
    this.#settle();
    return this.#slots.map(({ channel, users, rate, lock }, index) => {
      const [address] = users.values();
      return { resource: `tuner${index}`, channel, address, rateBps: rate?.read(), lock };
    });
  }

  /** Why it is refused, in the words of a device. */
  lock(index: number, request: SetRequest): string | undefined {
    this.#settle();
    const slot = this.#slots[index] as Slot;
    const change = changeLock(slot.lock, request);
    if ('refused' in change) return change.refused;
    slot.lock = change.lock;
    return undefined;
  }

  #use(index: number, channel: Channel, address: string): TunerUse {
    const slot = this.#slots[index] as Slot;
    if (slot.channel !== channel) this.#assign(slot, channel);
    const use = { resource: `tuner${index}`, [Symbol.dispose]: () => void slot.users.delete(use) };
    slot.users.set(use, address);
    return use;
  }

  #assign(slot: Slot, channel: Channel): void {
    slot.channel = channel;
    slot.rate = new Rate(channel);
  }

  #indexFor(channel: Channel): number {
    const serving = this.#slots.findIndex((slot) => slot.channel === channel);
    if (serving >= 0) return serving;
    const free = this.#slots.findIndex((slot) => !slot.channel && !slot.lock);
    return free >= 0 ? free : this.#slots.push({ users: new Map() }) - 1;
  }

  /** Follows the channels: what is watched by other outputs only is a tuner too, and what nobody watches is none. */
  #settle(): void {
    const open = [...this.#channels].filter(isOpen);
    for (const slot of this.#slots) {
      if (slot.users.size > 0) continue;
      if (slot.channel && open.includes(slot.channel) && this.#isNeeded(slot)) continue;
      slot.channel = undefined;
      slot.rate = undefined;
    }
    this.#resize();
    for (const channel of open) {
      const slot = this.#slots[this.#indexFor(channel)] as Slot;
      if (slot.channel !== channel) this.#assign(slot, channel);
    }
  }

  /** One that nobody watches by is one too many where another serves its channel. */
  #isNeeded(slot: Slot): boolean {
    const index = this.#slots.indexOf(slot);
    const others = this.#slots.filter((other) => other !== slot && other.channel === slot.channel);
    return others.every((other) => other.users.size === 0 && this.#slots.indexOf(other) > index);
  }

  /** Those beyond the count go as soon as they are idle. */
  #resize(): void {
    while (this.#slots.length < this.#count()) this.#slots.push({ users: new Map() });
    while (this.#slots.length > this.#count() && !this.#slots.at(-1)?.channel) this.#slots.pop();
  }
}

function isOpen({ hub: { state } }: Channel): boolean {
  return state === 'opening' || state === 'live';
}

/** The least time over which a rate tells anything. */
const RATE_MS = 500;

/** How many bits a second come of a channel, over the time between two readings. */
class Rate {
  readonly #channel: Channel;
  #at = performance.now();
  #bytes: number;
  #bps: number | undefined;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.#bytes = channel.hub.stats().bytesIn;
  }

  read(): number | undefined {
    const elapsedMs = performance.now() - this.#at;
    if (elapsedMs < RATE_MS) return this.#bps;
    const { bytesIn } = this.#channel.hub.stats();
    this.#bps = Math.round(((bytesIn - this.#bytes) * 8_000) / elapsedMs);
    this.#at += elapsedMs;
    this.#bytes = bytesIn;
    return this.#bps;
  }
}
