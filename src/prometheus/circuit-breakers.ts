import type { CircuitBreaker } from '../circuit-breaker/circuit-breaker.ts';
import { Living } from './living.ts';
import type { Part } from './metric.ts';

const STATES = { closed: 0, 'half-open': 1, open: 2 } as const;

export function circuitBreakers(): Part {
  const breakers = new Living<CircuitBreaker>();
  return {
    metrics: [
      {
        type: 'gauge',
        name: 'circuit_breaker_state',
        help: 'State of each circuit: 0 closed, 1 half-open, 2 open',
        aggregator: 'max',
        read: () => [...breakers].map(({ name: id, state }) => ({ value: STATES[state], labels: { id } })),
      },
    ],
    listeners: {
      'holdfast:circuit-breaker:created': ({ breaker }: { breaker: CircuitBreaker }) =>
        breakers.add(breaker, undefined),
      'holdfast:circuit-breaker:closed': ({ breaker }: { breaker: CircuitBreaker }) => breakers.delete(breaker),
    },
  };
}
