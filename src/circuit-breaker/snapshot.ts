import { checkNumber, checkOneOf, show } from '../internal/options.ts';
import type { CircuitMemory } from './circuit.ts';

/** A breaker as plain JSON, for `CircuitBreaker.restore`. */
export interface CircuitSnapshot extends CircuitMemory {
  readonly version: 1;
  /** When it was taken by the wall clock: ISO 8601, UTC. */
  readonly takenAt: string;
}

export function takeSnapshot(memory: CircuitMemory, at: Date): CircuitSnapshot {
  return { version: 1, takenAt: at.toISOString(), ...memory };
}

/** What a snapshot says, and how long ago that was. */
export function readSnapshot(snapshot: CircuitSnapshot, at: Date): { memory: CircuitMemory; agoMs: number } {
  const { version, takenAt, state, openings, remainingMs, log } = checkObject('snapshot', snapshot);
  checkOneOf('snapshot.version', version, [1]);
  const taken = Date.parse(typeof takenAt === 'string' ? takenAt : '');
  if (Number.isNaN(taken)) throw new TypeError(`snapshot.takenAt must be a date, received ${show(takenAt)}`);
  const { failureAgesMs, outcomes } = checkObject('snapshot.log', log);
  const memory: CircuitMemory = {
    state: checkOneOf('snapshot.state', state, ['closed', 'open', 'isolated']),
    openings: checkCount('snapshot.openings', openings, state === 'open' ? 1 : 0),
    remainingMs: checkAge('snapshot.remainingMs', remainingMs),
    log: {
      failureAgesMs: checkArray('snapshot.log.failureAgesMs', failureAgesMs).map((age, index) =>
        checkAge(`snapshot.log.failureAgesMs[${index}]`, age),
      ),
      outcomes: checkArray('snapshot.log.outcomes', outcomes).map((each, index) => {
        const name = `snapshot.log.outcomes[${index}]`;
        const { ageMs, calls, failures, slow } = checkObject(name, each);
        return {
          ageMs: checkAge(`${name}.ageMs`, ageMs),
          calls: checkCount(`${name}.calls`, calls),
          failures: checkCount(`${name}.failures`, failures),
          slow: checkCount(`${name}.slow`, slow),
        };
      }),
    },
  };
  return { memory, agoMs: Math.max(0, at.getTime() - taken) };
}

function checkObject(name: string, value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new TypeError(`${name} must be an object, received ${show(value)}`);
}

function checkArray(name: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new TypeError(`${name} must be an array, received ${show(value)}`);
}

function checkAge(name: string, value: unknown): number {
  return checkNumber(name, value, { max: Number.MAX_VALUE });
}

function checkCount(name: string, value: unknown, min = 0): number {
  return checkNumber(name, value, { min, max: Number.MAX_SAFE_INTEGER, integer: true });
}
