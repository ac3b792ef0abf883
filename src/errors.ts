/**
 * Every error that holdfast throws. Each throw makes a fresh instance, so a stack always tells the place that failed.
 *
 * Catch by class or by `code`: `HOLDFAST_` and the class name without `Error` in upper snake case
 * (`SourceBusyError` is `HOLDFAST_SOURCE_BUSY`).
 */
export * from './errors/child.ts';
export * from './errors/common.ts';
export * from './errors/control.ts';
export * from './errors/hub.ts';
export * from './errors/lock.ts';
export * from './errors/supervisor.ts';
