import { type LockHolder, type Orphan, redactCredentials, SourceLock } from 'holdfast';
import type { Channel } from '../channel/channel.ts';
import type { Channels } from '../channel/channels.ts';
import type { LineupDevice, TunerView } from '../directory/lineup-device.ts';
import type { OrphanLook } from '../orphan-look.ts';
import type { PushView } from '../push/push.ts';
import { type ChannelView, channelView, type Extras } from './views.ts';

/** The publisher itself, for those who operate it. */
export interface PublisherView {
  readonly version: string;
  /** By which its locks are told from those of others. */
  readonly pid: number;
  readonly host: string;
  readonly startedAt: string;
  readonly demo: boolean;
  /** Why it can't serve now, as `/readyz` says it; and in an overview, why a part of that could not be looked at. */
  readonly unready: readonly string[];
  /** Whether an operator token is configured: else nothing can be changed from the page. */
  readonly operable: boolean;
  /** What players know it by; null where it does not answer as an HDHomeRun. */
  readonly deviceId: string | null;
}

/** All that the dashboard shows at one time, but for the log. */
export interface Overview {
  readonly now: string;
  readonly publisher: PublisherView;
  readonly channels: readonly ChannelView[];
  readonly tuners: readonly TunerView[];
  readonly locks: readonly LockHolder[];
  readonly orphans: readonly Orphan[];
  readonly pushes: readonly PushView[];
}

/** Where an overview is taken from. */
export interface Observed {
  readonly channels: Channels;
  readonly tuners: () => readonly LineupDevice[];
  readonly lockDir: string | undefined;
  readonly orphans: OrphanLook;
  readonly publisher: () => PublisherView;
  readonly pushes?: (() => readonly PushView[]) | undefined;
  /** What other rooms know of a channel. */
  readonly extras?: ((channel: Channel) => Extras) | undefined;
}

/** Looks at everything when asked, and at nothing meanwhile. */
export class Overviews {
  readonly #observed: Observed;

  constructor(observed: Observed) {
    this.#observed = observed;
  }

  /**
   * A part that can't be looked at is empty and says why: it must neither hide the others when they are needed most nor end
   * whoever looks on a timer.
   */
  async take(): Promise<Overview> {
    const faults: string[] = [];
    const part = <T>(what: string, looked: Promise<readonly T[]>): Promise<readonly T[]> =>
      looked.catch((error: Error) => {
        faults.push(`${what} can't be shown: ${redactCredentials(error.message)}`);
        return [];
      });
    const [tuners, locks, orphans, pushes] = await Promise.all([
      part('tuners', this.tuners()),
      part('locks', this.locks()),
      part('orphans', this.orphans()),
      part('pushes', this.pushes()),
    ]);
    const channels = await part('channels', this.#channels(locks));
    const publisher = this.#observed.publisher();
    return {
      now: new Date().toISOString(),
      publisher: { ...publisher, unready: [...publisher.unready, ...faults] },
      ...{ channels, tuners, locks, orphans, pushes },
    };
  }

  async channels(): Promise<readonly ChannelView[]> {
    return this.#channels(await this.locks().catch(() => []));
  }

  async tuners(): Promise<readonly TunerView[]> {
    return Promise.all(this.#observed.tuners().map((tuner) => tuner.view()));
  }

  locks(): Promise<readonly LockHolder[]> {
    return SourceLock.list({ dir: this.#observed.lockDir });
  }

  /** Processes on this host whose owner is dead; none of them is touched. */
  orphans(): Promise<readonly Orphan[]> {
    return this.#observed.orphans.find();
  }

  async pushes(): Promise<readonly PushView[]> {
    return this.#observed.pushes?.() ?? [];
  }

  async #channels(locks: readonly LockHolder[]): Promise<readonly ChannelView[]> {
    return [...this.#observed.channels].map((channel) => channelView(channel, locks, this.#observed.extras?.(channel)));
  }
}
