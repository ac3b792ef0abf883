import type { Socket } from 'node:net';
import type { TrustedProxies } from './trusted-proxies.ts';
import { householdOf, type ViewerLimits } from './viewers.ts';

/** Beside those of viewers: for pages, the API and metrics. */
const SPARE = 500;
/** Of those so many are left to others, whatever one address does. */
const LEFT_TO_OTHERS = 100;

/** Why a connection was closed before it had said anything. */
export type TooMany = 'total' | 'address';

type Limits = Pick<ViewerLimits, 'maxViewersTotal' | 'maxViewersPerAddress'>;

/**
 * Counts connections, those that say nothing too, and closes one that is too many: of all, or of one address. Those of a
 * trusted proxy are of many.
 */
export class Connections {
  readonly #limits: () => Limits;
  readonly #proxies: TrustedProxies;
  readonly #onRefused: (why: TooMany, detail: string) => void;
  readonly #byAddress = new Map<string, number>();
  #total = 0;

  /** @param limits asked for each, so that they can change */
  constructor(limits: () => Limits, proxies: TrustedProxies, onRefused: (why: TooMany, detail: string) => void) {
    this.#limits = limits;
    this.#proxies = proxies;
    this.#onRefused = onRefused;
  }

  admit(socket: Socket): void {
    const client = socket.remoteAddress ?? '';
    const address = householdOf(client);
    if (this.#isRefused(client, address)) {
      socket.destroy();
      return;
    }
    this.#count(address, 1);
    socket.once('close', () => this.#count(address, -1));
  }

  #isRefused(client: string, address: string): boolean {
    const { maxViewersTotal, maxViewersPerAddress } = this.#limits();
    const total = maxViewersTotal + SPARE;
    const ofOne = Math.min(maxViewersPerAddress + SPARE, total) - LEFT_TO_OTHERS;
    if (this.#total >= total) {
      this.#onRefused('total', `there are ${total} connections, ${SPARE} more than --max-viewers-total`);
      return true;
    }
    if ((this.#byAddress.get(address) ?? 0) < ofOne || this.#proxies.has(client)) return false;
    this.#onRefused('address', `${address} has ${ofOne} connections; see --max-viewers-per-address`);
    return true;
  }

  #count(address: string, change: 1 | -1): void {
    this.#total += change;
    const count = (this.#byAddress.get(address) ?? 0) + change;
    if (count === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, count);
  }
}
