import { DeviceClient } from '../../hdhomerun/index.ts';
import { GuideError } from './errors.ts';
import type { GuideSource, Pulled, Validators } from './guide-source.ts';
import { pullUrl } from './url-guide.ts';

const HOUR_MS = 3_600_000;
const ASK_TIMEOUT_MS = 5_000;

export interface DeviceGuideOptions {
  /** Of the devices whose channels it is for. */
  readonly addresses: readonly string[];
  /** @default https://api.hdhomerun.com */
  readonly service?: string | undefined;
  /** By which what was kept of it is found again, whatever the addresses are. @default made from the service */
  readonly key?: string | undefined;
  /** From 0 to 1. @default Math.random */
  readonly random?: (() => number) | undefined;
}

/**
 * The guide that the makers of the devices offer to those who have one, by the internet: two weeks for an account, less
 * without. The service wants all devices of a house in one call, told by what each gives as its `DeviceAuth`, which is good
 * for less than a day and so is read again before each; and it wants the calls of all houses spread over the day: the next
 * is 20 to 28 hours ahead, unless the devices are others: what a new one has is not waited for until then.
 */
export class DeviceGuide implements GuideSource {
  readonly name: string;
  readonly key: string;
  readonly asks: string | undefined;
  readonly #addresses: readonly string[];
  readonly #service: string;
  readonly #random: () => number;

  constructor(options: DeviceGuideOptions) {
    this.name = options.key ?? 'device';
    const { addresses, service = 'https://api.hdhomerun.com', random = Math.random } = options;
    this.#addresses = addresses;
    this.#service = service;
    this.#random = random;
    this.key = `device:${options.key ?? service}`;
    this.asks = options.key === undefined ? addresses.toSorted().join(' ') : undefined;
  }

  async pull(_before: Validators, signal: AbortSignal): Promise<Pulled | undefined> {
    const url = new URL('/api/xmltv', this.#service);
    url.searchParams.set('DeviceAuth', await this.#deviceAuth(signal));
    return pullUrl(url.href, {}, signal);
  }

  nextPullMs(): number {
    return (20 + 8 * this.#random()) * HOUR_MS;
  }

  /** Of those that answer; one that is down must not cost the others their guide. */
  async #deviceAuth(signal: AbortSignal): Promise<string> {
    const asked = await Promise.allSettled(
      this.#addresses.map((address) => DeviceClient.at(address, { signal, timeoutMs: ASK_TIMEOUT_MS })),
    );
    signal.throwIfAborted();
    const auths = asked.flatMap((each) =>
      each.status === 'fulfilled' ? (each.value.description.deviceAuth ?? []) : [],
    );
    if (auths.length > 0) return auths.join('');
    throw new GuideError('no device answers and says its DeviceAuth, which the guide is given for');
  }
}
