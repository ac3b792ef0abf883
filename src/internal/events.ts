import { EventEmitter } from 'node:events';
import type * as TE from 'typed-emitter';

/** Event names and the signatures of their listeners. */
// biome-ignore lint/suspicious/noExplicitAny: a listener may take any arguments
export type EventMap = Record<string, (...args: any[]) => void>;

/** A typed emitter to compose a class with: keep it private and forward `on`, `once` and `off`. */
export type Emitter<Events extends EventMap> = TE.default<Events>;

export function createEmitter<Events extends EventMap>(): Emitter<Events> {
  return new EventEmitter() as Emitter<Events>;
}
