export * from './errors.ts';
export type { FanoutHubEvents, FanoutHubState, FanoutHubStats } from './fanout-hub/events.ts';
export { FanoutHub } from './fanout-hub/fanout-hub.ts';
export type {
  FanoutHubOptions,
  FanoutReopen,
  FanoutSource,
  FanoutSourceContext,
  SourceHandle,
} from './fanout-hub/options.ts';
export type { Subscription, SubscriptionEnd } from './fanout-hub/subscription.ts';
export type { Hold, Holdable, HoldingChild, Lease } from './internal/hold.ts';
export { redactCredentials } from './internal/redact.ts';
export type { ChildStdio } from './managed-child/descriptors.ts';
export { ManagedChild } from './managed-child/managed-child.ts';
export type { ManagedChildOptions } from './managed-child/options.ts';
export type { Orphan } from './managed-child/orphans.ts';
export type { Readiness } from './managed-child/readiness.ts';
export type { Source } from './source-lock/acquisition.ts';
export type { InspectContext, LockBackend, LockPlace, Patience, TakenLock, Tenure } from './source-lock/backend.ts';
export { sourceKey } from './source-lock/key.ts';
export type { LockLocation, LockWarning, SourceLockOptions } from './source-lock/options.ts';
export { SourceLock } from './source-lock/source-lock.ts';
