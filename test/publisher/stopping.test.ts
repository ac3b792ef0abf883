import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { join } from 'node:path';
import { SourceLock } from 'holdfast';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, makeRecording, PublisherProcess, pidsOfChildren, timed, Viewer } from './support.ts';

let simulator: HdhomerunSimulator;
const lockDir = temporaryDirectory(afterAll);
const recording = join(temporaryDirectory(afterAll), 'recording.ts');

beforeAll(async () => {
  await makeRecording(recording);
  simulator = await HdhomerunSimulator.start();
});

afterAll(() => simulator.close());
afterEach(() => eventually(() => expect(simulator.streams()).toBe(0)));

/** A publisher that streams two channels by ffmpeg and one without, and every process that it started. */
async function streaming(before = ''): Promise<{ publisher: PublisherProcess; children: number[] }> {
  const sources = ['--source', `film=${recording}`, '--source', `cached=cache:${simulator.streamUrl('7.1')}`];
  const args = ['--device', simulator.url, ...sources, '--lock-dir', lockDir];
  const publisher = await PublisherProcess.start(args, {}, before);
  await publisher.says(/3 channels/);
  const ids = ['5.1', 'film', 'cached'];
  const viewers = await Promise.all(ids.map((id) => Viewer.open(`${publisher.url}/channels/${id}.ts`)));
  await Promise.all(viewers.map((viewer) => viewer.more()));
  return { publisher, children: pidsOfChildren(publisher.pid) };
}

async function expectNothingLeft(children: readonly number[]): Promise<void> {
  expect(children.filter(isRunning)).toEqual([]);
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

  it.each([
    ['its children before it', (all: readonly number[]) => all.toReversed()],
    ['itself before its children', (all: readonly number[]) => all],
  ])('on SIGTERM to all at once, as a service manager does it, %s: nothing counts as a failure', async (_, inOrder) => {
    const film = join(temporaryDirectory(), 'film.ts');
    await makeRecording(film);
    const args = ['--source', `film=${film}`, '--device', simulator.url, '--lock-dir', lockDir, '--log', 'json'];
    await using publisher = await PublisherProcess.start(args);
    await publisher.says(/3 channels/);
    const paths = ['film.ts', '5.1.ts', '7.1.ts?profile=low'];
    const viewers = await Promise.all(paths.map((path) => Viewer.open(`${publisher.url}/channels/${path}`)));
    await Promise.all(viewers.map((viewer) => viewer.more()));
    const children = pidsOfChildren(publisher.pid);
    expect(children.length).toBeGreaterThanOrEqual(3); // two of ffmpeg, and the guard
    const before = publisher.output.length;
    for (const pid of inOrder([publisher.pid, ...children])) process.kill(pid, 'SIGTERM');
    const { code, output } = await publisher.exited;
    const after = output.slice(before);
    expect(code, output).toBe(0);
    expect(after).not.toMatch(/"level":"(warn|error)"|opening|switched|failed/);
    expect(after).toMatch(/SIGTERM: stopping[\s\S]*stopped/);
    await timed(250, () => expectNothingLeft(children));
  });

  it.each(['SIGKILL', 'SIGSEGV', 'SIGABRT'] as const)('on %s, within 250 ms', async (signal) => {
    const { publisher, children } = await streaming();
    expect(children.length).toBeGreaterThanOrEqual(3); // two of ffmpeg, and the guard
    publisher.kill(signal);
    const elapsedMs = await timed(250, () => expectNothingLeft(children));
    console.log(`${signal} to nothing left: ${elapsedMs} ms`);
    await publisher.exited;
  });

  it('and says meanwhile that it is not ready to who is in, and lets nobody new in', async () => {
    const hanging = `
      const { Channels } = await import('./examples/publisher/channel/channels.ts');
      Channels.prototype[Symbol.asyncDispose] = () => new Promise(() => {});
    `;
    const args = ['--source', 'a=http://127.0.0.1:9/', '--lock-dir', temporaryDirectory()];
    await using publisher = await PublisherProcess.start(args, {}, hanging);
    const socket = connect(Number(new URL(publisher.url).port), '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.write('GET /readyz HTTP/1.1\r\nHost: localhost\r\n');
    // What is answered after that has been read after it.
    expect((await ask(`${publisher.url}/readyz`)).json).toMatchObject({ ready: true });
    publisher.kill('SIGTERM');
    await publisher.says(/SIGTERM: stopping/);
    await eventually(() => expect(ask(`${publisher.url}/readyz`)).rejects.toThrow('fetch failed'));
    socket.write('\r\n');
    await eventually(() => expect(answer).toMatch(/^HTTP\/1\.1 503 [\s\S]*"ready":false,"reasons":\["it stops"\]/));
    socket.destroy();
    publisher.kill('SIGKILL');
  });

  it('on a second Ctrl-C, at once', async () => {
    const hanging = `
      const { Publisher } = await import('./examples/publisher/app.ts');
      Publisher.prototype.close = () => new Promise(() => {});
    `;
    const { publisher, children } = await streaming(hanging);
    publisher.kill('SIGINT');
    await publisher.says(/SIGINT: stopping/);
    const begun = performance.now();
    await eventually(() => {
      publisher.kill('SIGINT'); // one that follows at once counts as the same
      expect(isRunning(publisher.pid)).toBe(false);
    }, promisedMs(1_000));
    expect(performance.now() - begun).toBeGreaterThan(200);
    expect((await publisher.exited).code).toBe(1);
    await timed(250, () => expectNothingLeft(children));
  });

  it('after 6.5 s where an orderly end takes longer, with exit code 1', async () => {
    const hanging = `
      const { Publisher } = await import('./examples/publisher/app.ts');
      Publisher.prototype.close = () => new Promise(() => {});
    `;
    const { publisher, children } = await streaming(hanging);
    const begun = performance.now();
    publisher.kill('SIGTERM');
    const { code, output } = await publisher.exited;
    const elapsedMs = performance.now() - begun;
    expect(code).toBe(1);
    expect(output).toContain('ERROR not everything has ended within 6.5 s: ending at once');
    expect(elapsedMs).toBeGreaterThan(6_400);
    expect(elapsedMs).toBeLessThan(promisedMs(7_000));
    await timed(250, () => expectNothingLeft(children));
  });

  it('where the end fails, at once, and says why', async () => {
    const failing = `
      const { Publisher } = await import('./examples/publisher/app.ts');
      Publisher.prototype.close = () => Promise.reject(new Error('on purpose'));
    `;
    const { publisher, children } = await streaming(failing);
    publisher.kill('SIGTERM');
    const { code, output } = await publisher.exited;
    expect(code).toBe(1);
    expect(output).toContain('ERROR not everything could be ended: on purpose');
    expect(output).not.toMatch(/\n\s+at /);
    await timed(250, () => expectNothingLeft(children));
  });

  it('on an exception that nobody catches, which is told without credentials', async () => {
    const failing = `process.on('SIGUSR2', () => { throw new Error('on purpose http://me:hunter2@h/'); });`;
    const { publisher, children } = await streaming(failing);
    publisher.kill('SIGUSR2');
    const { code, output } = await publisher.exited;
    expect([code, output]).toEqual([
      1,
      expect.stringContaining('FATAL nobody caught this: Error: on purpose http://***@h/'),
    ]);
    expect(output).not.toContain('hunter2');
    await timed(250, () => expectNothingLeft(children));
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
    const file = join(temporaryDirectory(), 'a-file');
    writeFileSync(file, '');
    for (const dir of [file, join(file, 'locks')]) {
      const publisher = new PublisherProcess(['--port', '0', '--device', simulator.url, '--lock-dir', dir]);
      const { code, output } = await publisher.exited;
      expect([dir, code]).toEqual([dir, 1]);
      expect(output).toContain(`the lock directory ${dir} can't be used`);
      expect(output).not.toMatch(/\n\s+at /);
    }
  });

  it('with a lock directory that it may not write', async () => {
    const dir = temporaryDirectory();
    chmodSync(dir, 0o555);
    const args = ['--port', '0', '--device', simulator.url, '--lock-dir', dir];
    const publisher = new PublisherProcess(args, { TEST_OBEYS_MODES: 'yes' });
    const { code, output } = await publisher.exited;
    expect(code).toBe(1);
    expect(output).toContain(`the lock directory ${dir} can't be used`);
    expect(output).toContain('it may not be written by this user (EACCES)');
    expect(output).toContain('or choose another with --lock-dir');
    expect(output).not.toContain('HOLDFAST_LOCK_DIR');
  });
});
