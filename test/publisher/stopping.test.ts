import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SourceLock } from 'holdfast';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';
import { childrenOf, isAlive, PublisherProcess, tempDir, timed, Viewer } from './support.ts';

const NOBODY = 65534;

let simulator: HdhomerunSimulator;
const lockDir = tempDir(afterAll);

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start();
});

afterAll(() => simulator.close());
afterEach(() => eventually(() => expect(simulator.streams()).toBe(0)));

/** A publisher that streams two channels, and every process that it started. */
async function streaming(): Promise<{ publisher: PublisherProcess; children: number[] }> {
  const publisher = await PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir]);
  const viewers = await Promise.all(['5.1', '7.1'].map((id) => Viewer.open(`${publisher.url}/channels/${id}.ts`)));
  await Promise.all(viewers.map((viewer) => viewer.more()));
  return { publisher, children: childrenOf(publisher.pid) };
}

async function expectNothingLeft(children: readonly number[]): Promise<void> {
  expect(children.filter(isAlive)).toEqual([]);
  expect(simulator.streams()).toBe(0);
  expect(await SourceLock.list({ dir: lockDir })).toEqual([]);
}

describe('the publisher ends and leaves no ffmpeg, no open tuner and no held lock', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('on %s, in order and with exit code 0', async (signal) => {
    const { publisher, children } = await streaming();
    const begun = performance.now();
    publisher.kill(signal);
    const { code, output } = await publisher.exited;
    const elapsedMs = Math.round(performance.now() - begun);
    console.log(`${signal} to the end: ${elapsedMs} ms`);
    expect(code, output).toBe(0);
    expect(elapsedMs).toBeLessThan(promisedMs(2_000));
    expect(output).toMatch(/stopping[\s\S]*stopped\n$/);
    await timed(250, () => expectNothingLeft(children));
  });

  it.each(['SIGKILL', 'SIGSEGV', 'SIGABRT', 'SIGHUP'] as const)('on %s, within 250 ms', async (signal) => {
    const { publisher, children } = await streaming();
    expect(children.length).toBeGreaterThanOrEqual(3); // two of ffmpeg, and the guard
    publisher.kill(signal);
    const elapsedMs = await timed(250, () => expectNothingLeft(children));
    console.log(`${signal} to nothing left: ${elapsedMs} ms`);
    await publisher.exited;
  });

  it('on a second Ctrl-C, at once', async () => {
    const { publisher, children } = await streaming();
    publisher.kill('SIGINT');
    publisher.kill('SIGINT');
    await publisher.exited;
    await timed(500, () => expectNothingLeft(children));
  });
});

describe('the publisher does not start', () => {
  it('on a port that is taken, and names the port and --port', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await eventually(() => expect(other.listening).toBe(true));
    const { port } = other.address() as AddressInfo;
    const publisher = new PublisherProcess(['--port', String(port), '--device', simulator.url, '--lock-dir', lockDir]);
    const { code, output } = await publisher.exited;
    other.close();
    expect(code).toBe(1);
    expect(output).toContain(`port ${port} is taken by another program (EADDRINUSE)`);
    expect(output).toContain('--port');
    expect(output).not.toMatch(/\n\s+at /);
  });

  it('with a lock directory that can not be written, and says so at the start', async () => {
    const file = join(tempDir(), 'a-file');
    writeFileSync(file, '');
    for (const dir of [file, join(file, 'locks')]) {
      const publisher = new PublisherProcess(['--port', '0', '--device', simulator.url, '--lock-dir', dir]);
      const { code, output } = await publisher.exited;
      expect([dir, code]).toEqual([dir, 1]);
      expect(output).toContain(`the lock directory ${dir} can't be used`);
      expect(output).not.toMatch(/\n\s+at /);
    }
  });

  it('with a lock directory that belongs to another user', async () => {
    const dir = tempDir();
    chmodSync(dir, 0o555);
    // Root may write everywhere, so root has it run by nobody.
    const uid = process.getuid?.() === 0 ? NOBODY : undefined;
    const publisher = new PublisherProcess(['--port', '0', '--device', simulator.url, '--lock-dir', dir], {}, uid);
    const { code, output } = await publisher.exited;
    expect(code).toBe(1);
    expect(output).toContain(`the lock directory ${dir} can't be used: may not be written by this user (EACCES)`);
  });
});
