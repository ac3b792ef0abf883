export type { CallLogSnapshot, TripCause } from './circuit-breaker/call-log.ts';
export type { CircuitState, TransitionCause } from './circuit-breaker/circuit.ts';
export {
  CircuitBreaker,
  type CircuitBreakerEvents,
  type Permit,
  type RunContext,
} from './circuit-breaker/circuit-breaker.ts';
export type { CircuitBreakerOptions } from './circuit-breaker/options.ts';
export type { CircuitSnapshot } from './circuit-breaker/snapshot.ts';
export * from './errors.ts';
export type { FanoutHubEvents, FanoutHubState, FanoutHubStats } from './fanout-hub/events.ts';
export { FanoutHub } from './fanout-hub/fanout-hub.ts';
export type {
  FanoutHubOptions,
  FanoutReopen,
  FanoutSource,
  FanoutSourceContext,
  JoinPoint,
  OnLag,
  SourceHandle,
} from './fanout-hub/options.ts';
export type { Subscription, SubscriptionEnd } from './fanout-hub/subscription.ts';
export type { Hold, Holdable, HoldingChild, Lease } from './internal/hold.ts';
export type { ProcessIdentity } from './internal/proc.ts';
export { redactCredentials } from './internal/redact.ts';
export type { ChildStdio } from './managed-child/descriptors.ts';
export { ManagedChild } from './managed-child/managed-child.ts';
export type { ManagedChildOptions, TerminateOptions } from './managed-child/options.ts';
export type { Orphan } from './managed-child/orphans.ts';
export type { Readiness } from './managed-child/readiness.ts';
export { type AdmissionCheck, maxLoad, minFreeFds, minFreeMemory } from './process-pool/admission.ts';
export type { PoolStats, ProcessPoolEvents } from './process-pool/events.ts';
export type { PooledChild, ProcessLease } from './process-pool/lease.ts';
export type {
  AcquireOptions,
  AcquirePolicy,
  DrainOptions,
  ProcessPoolOptions,
  SpawnRate,
} from './process-pool/options.ts';
export { ProcessPool } from './process-pool/process-pool.ts';
export type { Spawn, SpawnContext } from './process-pool/start.ts';
export type { Source } from './source-lock/acquisition.ts';
export type { InspectContext, LockBackend, LockPlace, Patience, TakenLock, Tenure } from './source-lock/backend.ts';
export { sourceKey } from './source-lock/key.ts';
export type { LockLocation, LockWarning, SourceLockOptions } from './source-lock/options.ts';
export { SourceLock } from './source-lock/source-lock.ts';
export type { AttemptContext, Attempted, OpenFunction } from './supervisor/attempt.ts';
export type { BackoffOptions, HeartbeatOptions, SupervisorOptions } from './supervisor/options.ts';
export type { Refusal, RestartVerdict } from './supervisor/restart-guard.ts';
export type { RestartMode, ServiceState, ServiceStatus } from './supervisor/service.ts';
export type { ServiceContext, ServiceFunction } from './supervisor/service-run.ts';
export { type ServiceHandle, type StartOptions, Supervisor, type SupervisorEvents } from './supervisor/supervisor.ts';
export type { TokenBucketOptions } from './token-bucket/options.ts';
export { type Reservation, type TakeOptions, TokenBucket } from './token-bucket/token-bucket.ts';
