export * from './errors.ts';
export { redactCredentials } from './internal/redact.ts';
export type { ChildStdio } from './managed-child/descriptors.ts';
export { ManagedChild } from './managed-child/managed-child.ts';
export type { ManagedChildOptions } from './managed-child/options.ts';
export type { Readiness } from './managed-child/readiness.ts';
export { sourceKey } from './source-lock/key.ts';
export type { LockWarning, SourceLockOptions } from './source-lock/options.ts';
export { SourceLock } from './source-lock/source-lock.ts';
