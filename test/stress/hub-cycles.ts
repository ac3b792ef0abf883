import { readdirSync } from 'node:fs';
import { Writable } from 'node:stream';
import { FanoutHub, ManagedChild } from 'holdfast';
import { childrenOf } from '../support/processes.ts';

export interface CyclesVerdict {
  readonly openings: number;
  readonly failures: number;
  /** After the last cycle, less those after the first. */
  readonly descriptors: number;
  readonly children: number;
}

/** Opens a hub whose source is a child, has a byte of it, and closes it, again and again. */
export async function hubCycles(times: number): Promise<CyclesVerdict> {
  const source = ({ signal }: { readonly signal: AbortSignal }) =>
    ManagedChild.spawn('sh', ['-c', 'echo picture; exec sleep 60'], { signal, graceMs: 100 });
  const hub = new FanoutHub({ source });
  const cycle = async () => {
    const idle = new Promise<void>((resolve) => hub.once('idle', resolve));
    const subscription = hub.pipe(new Writable({ write: (_chunk, _encoding, done) => done() }));
    await subscription.live;
    await subscription[Symbol.asyncDispose]();
    await idle;
  };
  await cycle();
  const before = counts();
  while (hub.stats().openings < times) await cycle();
  const after = counts();
  const { openings, failures } = hub.stats();
  await hub.close();
  const [descriptors, children] = [after.descriptors - before.descriptors, after.children - before.children];
  return { openings, failures, descriptors, children };
}

function counts(): { descriptors: number; children: number } {
  return { descriptors: readdirSync('/proc/self/fd').length, children: childrenOf(process.pid).length };
}
