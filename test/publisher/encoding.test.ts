import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { startEncoder } from '../../examples/publisher/pipeline/encoder.ts';
import { encodingOf, hasFailed } from '../../examples/publisher/pipeline/encoding.ts';
import { ManagedChild } from '../../src/index.ts';
import { patienceMs } from '../support/promised.ts';

/** How an encoder ended that a shell stands for, as the supervisor sees it, and whether it gave up by itself. */
async function endOf(script: string, signal?: NodeJS.Signals, isOver = false) {
  const child = await ManagedChild.spawn('sh', ['-c', `echo begun; ${script}`], { stdin: 'pipe' });
  (child.stdout as Readable).resume();
  const lease = { child, [Symbol.asyncDispose]: () => child.terminate().then(() => {}) };
  const encoding = encodingOf(lease as never, { isOver } as never);
  if (signal) {
    await once(child.stdout as Readable, 'data');
    process.kill(child.pid as number, signal);
  }
  const [seen, exit] = await Promise.all([encoding.closed, child.closed]);
  return [seen.reason, hasFailed(exit)];
}

describe('an encoder', () => {
  it.each<[string, string, NodeJS.Signals | undefined, boolean, [string, boolean]]>([
    ['exits with 1', 'exit 1', undefined, false, ['exited', true]],
    ['ends as ffmpeg does when it is told to', 'exit 255', undefined, false, ['terminated', false]],
    ['is told to end from outside', 'exec sleep 60', 'SIGTERM', false, ['terminated', false]],
    ['is killed, as for want of memory', 'exec sleep 60', 'SIGKILL', false, ['exited', false]],
    ['ends as its channel has', 'exit 1', undefined, true, ['aborted', true]],
  ])('that %s', async (_, script, signal, isOver, seen) => {
    expect(await endOf(script, signal, isOver)).toEqual(seen);
  });

  it('whose channel fails while it starts fails with that at once', async () => {
    const begun = performance.now();
    const feed = () => new Promise<never>((_, reject) => setTimeout(() => reject(new Error('no signal')), 100));
    const args = ['-v', 'error', '-f', 'mpegts', '-i', 'pipe:0', '-c', 'copy', '-f', 'mpegts', 'pipe:1'];
    const { signal } = new AbortController();
    const starting = startEncoder(findFfmpeg(), args, { signal, startTimeoutMs: patienceMs(20_000), feed });
    await expect(starting).rejects.toThrow(/^no signal$/);
    expect(performance.now() - begun).toBeLessThan(patienceMs(5_000));
  });
});
