import type { SubscriberLaggedError } from '../errors.ts';
import type { Subscription } from './subscription.ts';

/**
 * - `idle`: no source, no subscriber
 * - `opening`: `source` was called and gave no byte yet, or subscribers wait until `reopen` allows it
 * - `live`: the source gives bytes
 * - `closing`: the source is being torn down; subscribers that come now wait for the next
 * - `closed`: by `close`, for good
 */
export type FanoutHubState = 'idle' | 'opening' | 'live' | 'closing' | 'closed';

/**
 * Events of a hub. Each is also published on the diagnostics channel `holdfast:fanout-hub:<event>` as an object with
 * `hub` and what the listener gets, by name; so are `created` and `closed`. What a listener throws is an uncaught
 * exception of the process; the hub and the other listeners go on.
 */
export type FanoutHubEvents = {
  /** The source was called. */
  open: () => void;
  /** Its first byte came. */
  live: () => void;
  /** A subscriber was too far behind: it was dropped, or begins to skip, by `onLag`. */
  lag: (subscription: Subscription, error: SubscriberLaggedError) => void;
  /** Everything of the source is gone and nobody subscribes. */
  idle: () => void;
  /** The source could not be opened, failed, or something of it could not be disposed. */
  failure: (error: unknown) => void;
};

/** Counters since the hub was made, and the gauges `state`, `subscribers`, `lagBytes` and `lags`. */
export interface FanoutHubStats {
  readonly state: FanoutHubState;
  readonly subscribers: number;
  /** How often `source` was called. */
  readonly openings: number;
  /** How many `failure` events there were. */
  readonly failures: number;
  /** Bytes that the sources gave. */
  readonly bytesIn: number;
  /** Bytes given to subscribers, all together, those of them that a subscriber then skipped included. */
  readonly bytesOut: number;
  /** Slices cut; each was written once for every subscriber. */
  readonly slices: number;
  /** Subscribers dropped because they lagged. */
  readonly lagged: number;
  /** How often a subscriber began to skip. */
  readonly skips: number;
  /** Bytes that subscribers skipped, all together; those of a gap are counted when its subscriber goes on, or ends. */
  readonly skippedBytes: number;
  /** How far behind the slowest subscriber is now. */
  readonly lagBytes: number;
  /** And each, in the order they came. */
  readonly lags: readonly number[];
}
