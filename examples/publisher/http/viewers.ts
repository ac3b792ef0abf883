import { isIPv6 } from 'node:net';
import type { Failure } from '../failure.ts';

export interface ViewerLimits {
  /** Of one channel. */
  readonly maxViewers: number;
  /** Of all channels. */
  readonly maxViewersTotal: number;
  readonly maxViewersPerAddress: number;
}

/** When one who is refused may try again. */
const RETRY_MS = 10_000;

/** Who watches, whatever they are served: counts them by channel and by address, and refuses who is too many. */
export class Viewers {
  /** Asked for each, so that they can change. */
  readonly #limits: () => ViewerLimits;
  readonly #byChannel = new Map<string, number>();
  readonly #byAddress = new Map<string, number>();
  #total = 0;

  constructor(limits: () => ViewerLimits) {
    this.#limits = limits;
  }

  get total(): number {
    return this.#total;
  }

  /** Of one channel. */
  of(channel: string): number {
    return this.#byChannel.get(channel) ?? 0;
  }

  /**
   * A place for one viewer, until it is disposed; or why there is none.
   *
   * @param client the address of who asks
   */
  admit(client: string, channel: string): Disposable | Failure {
    const address = householdOf(client);
    return this.#refusal(channel, address) ?? this.#enter(channel, address);
  }

  #refusal(channel: string, address: string): Failure | undefined {
    const { maxViewers, maxViewersTotal, maxViewersPerAddress } = this.#limits();
    const has = (who: string, count: number, flag: string) => `${who} has ${count} viewers, as many as ${flag} allows`;
    if (this.of(channel) >= maxViewers) return tooMany(has(`channel ${channel}`, maxViewers, '--max-viewers'));
    if (this.#total >= maxViewersTotal) return tooMany(has('this publisher', maxViewersTotal, '--max-viewers-total'));
    if ((this.#byAddress.get(address) ?? 0) < maxViewersPerAddress) return undefined;
    return tooMany(has(address, maxViewersPerAddress, '--max-viewers-per-address'));
  }

  #enter(channel: string, address: string): Disposable {
    this.#count(channel, address, 1);
    let isIn = true;
    return {
      [Symbol.dispose]: () => {
        if (isIn) this.#count(channel, address, -1);
        isIn = false;
      },
    };
  }

  #count(channel: string, address: string, change: 1 | -1): void {
    this.#total += change;
    add(this.#byChannel, channel, change);
    add(this.#byAddress, address, change);
  }
}

export function isRefused(admitted: Disposable | Failure): admitted is Failure {
  return 'status' in admitted;
}

/** An IPv4 address is the same through either kind of socket; and the network it came by is none of the address. */
export function plainAddress(address: string): string {
  const [, v4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  return v4 ?? address.replace(/%.*/, '');
}

/** Who gets one IPv6 address gets 2^64 of them. */
export function householdOf(address: string): string {
  const plain = plainAddress(address);
  return isIPv6(plain) ? `${groupsOf(plain).slice(0, 4).join(':')}::/64` : plain;
}

/** All eight groups, as short as they can be. */
function groupsOf(address: string): string[] {
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const [begin, end] = [head, tail ?? ''].map((part) => (part === '' ? [] : part.split(':'))) as [string[], string[]];
  return [...begin, ...Array.from({ length: 8 - begin.length - end.length }, () => '0'), ...end];
}

function add(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

function tooMany(detail: string): Failure {
  const said = { title: 'Too many viewers', code: 'PUBLISHER_VIEWER_LIMIT' };
  return { status: 429, ...said, detail, retryAfterMs: RETRY_MS, deviceError: '809 Playback Connection Limit' };
}
