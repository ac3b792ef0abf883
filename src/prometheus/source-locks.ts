import type { SourceLock } from '../source-lock/source-lock.ts';
import { type Part, Tally } from './metric.ts';

export function sourceLocks(): Part {
  const held = new Map<string, SourceLock>();
  const refused = Tally.fromZero();
  const reclaimed = Tally.fromZero();
  return {
    metrics: [
      {
        type: 'gauge',
        name: 'source_lock_held',
        help: 'Source locks that this process holds',
        read: () => [...held.keys()].map((key) => ({ value: 1, labels: { key } })),
      },
      {
        type: 'counter',
        name: 'source_lock_refused_total',
        help: 'Acquisitions refused because another holds the source',
        read: () => refused.samples(),
      },
      {
        type: 'counter',
        name: 'source_lock_reclaimed_total',
        help: 'Locks taken over from a holder that died',
        read: () => reclaimed.samples(),
      },
    ],
    listeners: {
      'holdfast:source-lock:created': ({ lock }: { lock: SourceLock }) => {
        for (const key of lock.keys) held.set(key, lock);
      },
      'holdfast:source-lock:released': ({ lock }: { lock: SourceLock }) => {
        for (const key of lock.keys) if (held.get(key) === lock) held.delete(key);
      },
      'holdfast:source-lock:refused': () => refused.add(1),
      'holdfast:source-lock:reclaimed': () => reclaimed.add(1),
    },
  };
}
