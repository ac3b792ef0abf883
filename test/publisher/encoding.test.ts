import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { startEncoder } from '../../examples/publisher/pipeline/encoder.ts';
import { EncoderFeed } from '../../examples/publisher/pipeline/encoder-feed.ts';
import { encodingOf, hasFailed } from '../../examples/publisher/pipeline/encoding.ts';
import { FanoutHub, ManagedChild } from '../../src/index.ts';
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

  it('that takes nothing and gives nothing has stalled, and nobody waits for it', async () => {
    await using child = await ManagedChild.spawn('sh', ['-c', 'echo begin; exec sleep 61'], {
      stdin: 'pipe',
      graceMs: 0,
    });
    child.stdout?.resume();
    const source = new PassThrough();
    const timer = setInterval(() => source.write(Buffer.alloc(100_000)), 20);
    onTestFinished(() => clearInterval(timer));
    await using hub = new FanoutHub({ name: 'news', source: () => source });
    const terms = { name: 'news/low', stallTimeoutMs: 1_000, onOtherTracks: () => {} };
    await using feed = new EncoderFeed(hub.subscribe({ onLag: 'skip' }), terms);
    await expect(feed.start(child)).rejects.toThrow(
      /^ffmpeg of news\/low takes its input and has written nothing for 1000 ms/,
    );
    expect(feed.isOver).toBe(false);
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
