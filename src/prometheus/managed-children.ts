import type { ChildExit } from '../errors.ts';
import type { ManagedChild } from '../managed-child/managed-child.ts';
import { type Part, Tally } from './metric.ts';

export function managedChildren(): Part {
  const active = new Set<ManagedChild>();
  const exits = new Tally();
  const escapees = Tally.fromZero();
  return {
    metrics: [
      {
        type: 'gauge',
        name: 'children_active',
        help: 'Children whose tree is not gone yet',
        read: () => [{ value: active.size, labels: {} }],
      },
      {
        type: 'counter',
        name: 'child_exits_total',
        help: 'Children that ended, by cause',
        read: () => exits.samples(),
      },
      {
        type: 'counter',
        name: 'child_escapees_total',
        help: 'Processes that had left their group and were ended',
        read: () => escapees.samples(),
      },
    ],
    listeners: {
      'holdfast:managed-child:created': ({ child }: { child: ManagedChild }) => active.add(child),
      'holdfast:managed-child:closed': ({ child, exit }: { child: ManagedChild; exit: ChildExit }) => {
        active.delete(child);
        exits.add(1, { reason: exit.reason });
        escapees.add(exit.escapees);
      },
    },
  };
}
