import { EventEmitter } from 'node:events';
import type * as TE from 'typed-emitter';
import { shielded } from './shielded.ts';

/** Event names and the signatures of their listeners. */
// biome-ignore lint/suspicious/noExplicitAny: a listener may take any arguments
export type EventMap = Record<string, (...args: any[]) => void>;

/**
 * A typed emitter to compose a class with: keep it private and forward `on`, `once` and `off`. `emit` never throws, so
 * that a state machine can emit in the middle of a transition: what a listener throws becomes an uncaught exception.
 */
export type Emitter<Events extends EventMap> = TE.default<Events>;

export function createEmitter<Events extends EventMap>(): Emitter<Events> {
  return new GuardedEmitter() as EventEmitter as Emitter<Events>;
}

class GuardedEmitter extends EventEmitter {
  /** The raw listeners are a copy, and those of `once` remove themselves. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    const listeners = this.rawListeners(event);
    for (const listener of listeners) shielded(() => Reflect.apply(listener, this, args));
    return listeners.length > 0;
  }
}
