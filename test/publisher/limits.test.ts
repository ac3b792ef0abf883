import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { openDescriptors } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, makeRecording, PublisherProcess, Viewer } from './support.ts';

let simulator: HdhomerunSimulator;

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start();
});
afterAll(() => simulator.close());

async function publish(...flags: string[]): Promise<PublisherProcess> {
  const lockDir = temporaryDirectory();
  const publisher = await PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir, ...flags]);
  await publisher.says(/3 channels/);
  return publisher;
}

/** Opens connections that say nothing; the function tells how many of them are open. */
async function idle(url: string, count: number): Promise<() => number> {
  const { hostname, port } = new URL(url);
  const open = () =>
    connect(Number(port), hostname)
      .on('error', () => {})
      .resume();
  const sockets = Array.from({ length: count }, open);
  onTestFinished(() => sockets.forEach((socket) => void socket.destroy()));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  return () => sockets.filter((socket) => !socket.destroyed).length;
}

describe('connections that say nothing', () => {
  it('of one address leave some to others, who are answered; those that are closed are told and counted', async () => {
    await using publisher = await publish('--max-viewers-total', '10', '--max-viewers-per-address', '10');
    const left = await idle(publisher.url, 500);
    await eventually(() => expect(left()).toBe(410), promisedMs(5_000));
    const other = request(`${publisher.url}/healthz`, { localAddress: '127.0.0.2', agent: false }).end();
    const [{ statusCode }] = await once(other, 'response');
    expect(statusCode).toBe(200);
    const scrape = request(`${publisher.url}/metrics`, { localAddress: '127.0.0.2', agent: false }).end();
    const [answer] = await once(scrape, 'response');
    expect(await text(answer)).toMatch(/publisher_connections_refused_total\{why="address"\} [1-9]/);
    expect(publisher.output).toContain('127.0.0.1 has 410 connections; see --max-viewers-per-address');
  });

  it('are as many as a reload allows', async () => {
    const config = join(temporaryDirectory(), 'config.json');
    writeFileSync(config, '{ "maxViewersTotal": 10, "maxViewersPerAddress": 10 }');
    await using publisher = await publish('--config', config);
    writeFileSync(config, '{ "maxViewersTotal": 100, "maxViewersPerAddress": 100 }');
    publisher.kill('SIGHUP');
    await publisher.says(/reload: applied/);
    const left = await idle(publisher.url, 490);
    expect((await publisher.json('/healthz')).status).toBeDefined();
    expect(left()).toBe(490);
    expect(publisher.output).not.toContain('a connection was closed');
  });
});

it('a fault of the system or of the program while it serves costs nobody else anything, and is told', async () => {
  const failing = `
    const { Server } = await import('node:net');
    const { Overviews } = await import('./examples/publisher/http/overview.ts');
    const { listen } = Server.prototype;
    Server.prototype.listen = function (...place) {
      process.on('SIGUSR2', () => this.emit('error', new Error('accept ENFILE')));
      return listen.apply(this, place);
    };
    Overviews.prototype.locks = () => Promise.reject(new Error('on purpose http://me:hunter2@h/'));
  `;
  const args = ['--source', 'a=/nowhere.ts', '--lock-dir', temporaryDirectory()];
  await using publisher = await PublisherProcess.start(args, {}, failing);
  for (const count of [1, 2]) {
    publisher.kill('SIGUSR2');
    await publisher.says(new RegExp(`(a connection could not be taken: accept ENFILE[^]*){${count}}`));
  }
  const { status, json } = await ask(`${publisher.url}/api/locks?token=hunter2`);
  expect([status, json.detail]).toEqual([500, 'on purpose http://***@h/']);
  expect(publisher.output).toContain('ERROR GET /api/locks?token=*** failed: on purpose http://***@h/\n');
  expect((await ask(`${publisher.url}/healthz`)).status).toBe(200);
});

describe('behind a proxy that is trusted', () => {
  it('viewers are counted by the address that it names, and its connections are not those of one address', async () => {
    const limits = ['--max-viewers-total', '100', '--max-viewers-per-address', '1'];
    await using publisher = await publish('--trust-proxy', '127.0.0.1', ...limits);
    const left = await idle(publisher.url, 550);
    const watch = (by: string) =>
      fetch(`${publisher.url}/channels/5.1.ts`, { headers: { 'X-Forwarded-For': by }, signal: leave.signal });
    const leave = new AbortController();
    const statuses = [];
    for (const by of ['10.0.0.1', '10.0.0.2', '10.0.0.2']) statuses.push((await watch(by)).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect(left()).toBe(550);
    leave.abort();
  });
});

describe('a publisher that is full', () => {
  it('of viewers of one channel answers one more with 429, and those it has stay', async () => {
    await using publisher = await publish('--max-viewers', '1');
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    const { status, headers, json } = await ask(`${publisher.url}/channels/5.1.ts`);
    expect([status, json.title, json.code]).toEqual([429, 'Too many viewers', 'PUBLISHER_VIEWER_LIMIT']);
    expect(json.detail).toBe('channel 5.1 has 1 viewers, as many as --max-viewers allows');
    expect([headers.get('retry-after'), headers.get('x-hdhomerun-error')]).toEqual([
      '10',
      '809 Playback Connection Limit',
    ]);
    await viewer.more();
  });

  it.each(['total', 'per-address'])(
    'of viewers (%s) answers one more with 429, and admits one for one that left',
    async (of) => {
      await using publisher = await publish(`--max-viewers-${of}`, '1');
      using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
      await viewer.more();
      const { status, json } = await ask(`${publisher.url}/channels/7.1.ts`);
      expect(status).toBe(429);
      expect(json.detail).toContain(`has 1 viewers, as many as --max-viewers-${of} allows`);
      viewer.leave();
      await eventually(async () => {
        using other = await Viewer.open(`${publisher.url}/channels/7.1.ts`);
        expect(other.status).toBe(200);
      }, promisedMs(5_000));
    },
  );

  it('of processes answers one more channel with 503 and Retry-After, opens it as soon as one is free', async () => {
    const startTimeoutMs = promisedMs(2_000);
    const recording = join(temporaryDirectory(), 'recording.ts');
    await makeRecording(recording);
    await using publisher = await publish(
      ...['--max-processes', '1', '--start-timeout-ms', String(startTimeoutMs)],
      ...['--source', `file=${recording}`, '--source', `cached=cache:${simulator.streamUrl('7.1')}`],
    );
    using viewer = await Viewer.open(`${publisher.url}/channels/file.ts`);
    await viewer.more();
    const { status, headers, json, elapsedMs } = await ask(`${publisher.url}/channels/cached.ts`);
    expect(json.detail).toContain('runs 1 processes already (--max-processes)');
    expect([status, json.title, json.code]).toEqual([503, 'This publisher is full', 'PUBLISHER_FULL']);
    expect(headers.get('x-hdhomerun-error')).toBe('805 All Tuners In Use');
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(elapsedMs).toBeLessThan(startTimeoutMs + promisedMs(500));
    using passed = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    expect(passed.status).toBe(200); // it needs no process
    const waiting = Viewer.open(`${publisher.url}/channels/cached.ts`);
    viewer.leave();
    using other = await waiting;
    expect(other.status).toBe(200);
  });

  it('of descriptors starts nothing more, and says so at once', async () => {
    await using publisher = await publish();
    execFileSync('prlimit', ['--pid', String(publisher.pid), `--nofile=${openDescriptors(publisher.pid) + 40}:`]);
    const { status, headers, json } = await ask(`${publisher.url}/channels/5.1.ts`);
    expect([status, json.title, json.code]).toEqual([503, 'This publisher is full', 'HOLDFAST_ADMISSION']);
    expect(headers.get('x-hdhomerun-error')).toBe('805 All Tuners In Use');
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('of starts at once opens so many, and the others as their turn comes', async () => {
    const ids = Array.from({ length: 20 }, (_, index) => `s${index}`);
    const sources = ids.flatMap((id) => ['--source', `${id}=rtsp://127.0.0.1:9/${id}`]);
    await using publisher = await PublisherProcess.start([...sources, '--lock-dir', temporaryDirectory()]);
    const answers = await Promise.all(ids.map((id) => ask(`${publisher.url}/channels/${id}.ts`)));
    expect(answers.map(({ status }) => status)).toEqual(ids.map(() => 502));
    // 16 at once, and then 4 a second.
    const [last] = answers.map(({ elapsedMs }) => elapsedMs).sort((a, b) => b - a);
    expect(last).toBeGreaterThan(900);
  });
});
