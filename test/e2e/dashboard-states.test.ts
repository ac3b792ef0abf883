import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Page, Route } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { makeRecording, PublisherProcess, Viewer } from '../publisher/support.ts';
import { eventually } from '../support/eventually.ts';
import { abandon, childrenOf, endProcess, isRunning, startProgram } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { answering, cardOf, SOME_CHANNEL, Stage } from './dashboard-support.ts';

const ownDir = temporaryDirectory(afterAll);
const tape = ['--source', `tape=${join(ownDir, 'tape.ts')}`];
const stage = new Stage('dashboard-states', ['--demo', '--source', 'held=http://127.0.0.1:1/held.ts', ...tape]);

/** Holds the lock of a source until it is told to end. */
const HOLDER = `
  const { SourceLock } = await import('holdfast');
  await SourceLock.acquire('http://127.0.0.1:1/held.ts', { dir: process.argv[2] });
  console.log('held');
  setInterval(() => {}, 1_000);
`;

/** A publisher with a state directory of its own dies, and its ffmpeg lives on with the lock of what it read. */
async function leaveHelper(): Promise<{ owner: number; helper: number }> {
  await makeRecording(join(ownDir, 'tape.ts'));
  const other = await PublisherProcess.start([...tape, '--lock-dir', stage.lockDir, '--state-dir', ownDir]);
  const viewer = await Viewer.open(`${other.url}/channels/tape.ts`);
  await viewer.more();
  const helper = childrenOf(other.pid).find(({ command }) => command.includes('tape.ts'))?.pid as number;
  process.kill(helper, 'SIGSTOP'); // else it ends as soon as nobody reads what it writes
  await abandon({ pid: other.pid, kill: (signal) => other.kill(signal) });
  await other.exited;
  return { owner: other.pid, helper };
}

describe('what a dead publisher left behind', () => {
  let left: { owner: number; helper: number };
  // Before the first page: orphans are looked for once in a while.
  beforeAll(async () => {
    left = await leaveHelper();
  });
  afterAll(() => (left && isRunning(left.helper) ? endProcess(left.helper) : undefined));

  test('is named on its channel, among the locks and the orphans, with how to end it, and goes when it ends', async () => {
    const { owner, helper } = left;
    const { page, problems } = await stage.open();
    await cardOf(page, 'tape').getByText('Held by an orphan').waitFor();
    await page.getByRole('button', { name: '1 with a fault: show them' }).click();
    await eventually(async () => expect(await page.locator('.card').count()).toBe(1));
    await page.getByRole('button', { name: 'Details of tape' }).click();
    const details = page.getByRole('dialog', { name: 'tape' });
    await details.getByText(`Left behind by process ${owner}`).waitFor();
    expect(await details.innerText()).toMatch(new RegExp(`ffmpeg, pid ${helper}\\b[\\s\\S]*${ownDir}/tape\\.ts`));
    await page.keyboard.press('Escape');
    await page.getByRole('link', { name: /^System \d/ }).click();
    await page.getByRole('list', { name: 'Locks held' }).getByText(`left behind by pid ${owner}`).waitFor();
    const orphan = page
      .getByRole('list', { name: 'Orphans found' })
      .getByRole('listitem')
      .filter({ hasText: `pid ${helper}` });
    expect(await orphan.innerText()).toMatch(
      new RegExp(`pid ${owner}, is gone\\. End it with: holdfast orphans --kill`),
    );
    expect(isRunning(helper)).toBe(true);
    await endProcess(helper);
    await page.getByText('No source is held by anybody.').waitFor();
    await page.getByRole('link', { name: 'Channels', exact: true }).click();
    await cardOf(page, 'tape').getByText('Held by an orphan').waitFor({ state: 'hidden' });
    expect(problems).toEqual([]);
  });
});

describe('a fault', () => {
  test('a lock that another process holds is shown on the channel and among the locks, and goes with it', async () => {
    const { page, problems } = await stage.open();
    await cardOf(page, 'held').waitFor();
    const other = startProgram(HOLDER, {}, ['main', stage.lockDir]);
    onTestFinished(() => void other.kill('SIGKILL'));
    await other.says(/held/);
    await cardOf(page, 'held').getByText('Held by another process').waitFor();
    await page.getByLabel('Which channels').selectOption('faulty');
    await eventually(async () =>
      expect(await page.locator('.card h3').allInnerTexts()).toEqual([expect.stringContaining('held')]),
    );
    await page.getByRole('link', { name: 'System' }).click();
    const locks = page.getByRole('list', { name: 'Locks held' });
    await locks.getByText(`Another process: node, pid ${other.pid} `).waitFor();
    await other.kill('SIGKILL');
    await page.getByText('No source is held by anybody.').waitFor();
    expect(problems).toEqual([]);
  });

  test('a source that fails while it is watched is shown with why the next opening is held back, and for how long', async () => {
    const { page } = await stage.open();
    await eventually(async () => {
      await fetch(new URL('/channels/held.ts', stage.url));
      expect((await stage.channel('held')).refusal?.retryAfterMs).toBeGreaterThan(4_000);
    }, patienceMs(30_000));
    const card = cardOf(page, 'held');
    await card.getByText(/Can be opened again in \d+ s: /).waitFor();
    const leftIn = async () => Number(/in (\d+) s/.exec(await card.innerText())?.[1]);
    // What is shown first may be of the failure before, and a page that is late has missed most of the wait.
    const before = await eventually(async () => {
      await fetch(new URL('/channels/held.ts', stage.url));
      const left = await leftIn();
      expect(left).toBeGreaterThan(2);
      return left;
    }, patienceMs(30_000));
    await eventually(async () => expect(await leftIn()).toBeLessThan(before));
    await page.getByRole('link', { name: 'Events' }).click();
    await page.getByLabel('Events of which channel').selectOption('held');
    await page.getByLabel('Events of which level').selectOption('warn');
    const log = page.getByRole('region', { name: 'Event log' });
    await log
      .getByText(/channel held: The source could not be read/)
      .first()
      .waitFor();
    await eventually(async () => expect(await log.getByText('dashboard: ').isVisible()).toBe(false));
  });

  test('a publisher that is not ready says why', async () => {
    const publisher = { version: '1', startedAt: new Date(0), demo: false, unready: ['no ffmpeg'], operable: false };
    const { page } = await stage.open(answering({ publisher }));
    await page.getByRole('link', { name: 'System 1' }).click();
    await page.getByText('Not ready').waitFor();
    await page.getByText('no ffmpeg').waitFor();
    await page.getByText('read-only: no operator token is configured').waitFor();
  });
});

describe('what the server says', () => {
  test('is shown as text, whatever it contains', async () => {
    const name = '<img src=x onerror=alert(1)>';
    const lastError = { at: new Date(0), title: name, detail: name, advice: name };
    const { page } = await stage.open(answering({ channels: [{ ...SOME_CHANNEL, name, lastError }] }));
    await page.getByRole('heading', { name }).waitFor();
    await page.getByRole('button', { name: `Details of ${name}` }).click();
    expect(await page.locator('img[src=x]').count()).toBe(0);
  });

  test('gives the bitrate by what the counters grew', async () => {
    const live = { ...SOME_CHANNEL, state: 'live', viewers: 2, liveSince: new Date(0).toISOString() };
    const later = { ...live, bytesIn: 500_000, bytesOut: 1_000_000, continuityErrors: 3 };
    const { page } = await stage.open(answering({ channels: [live] }, { channels: [later] }));
    await cardOf(page, 'X').getByText('4.00 Mbit/s').waitFor();
    await cardOf(page, 'X').getByText('3 continuity errors').waitFor();
    await page.getByRole('button', { name: 'Details of X' }).click();
    expect(await page.locator('#details-out').innerText()).toBe('8.00 Mbit/s');
  });

  test('shows which of several sources is read, and why it changed', async () => {
    const sources = [
      { source: 'http://first/', state: 'failed', isReading: false, why: 'silent', until: new Date(0) },
      { source: 'http://second/', state: 'ok', isReading: true },
    ];
    const switches = [{ at: new Date(0), from: 'http://first/', to: 'http://second/', why: 'silent' }];
    const reading = { source: 'http://second/', resource: 'tuner1', index: 1 };
    const channel = { ...SOME_CHANNEL, state: 'live', sources, switches, reading };
    const { page } = await stage.open(answering({ channels: [channel] }));
    await page.getByRole('button', { name: 'Details of X' }).click();
    expect(await page.locator('#details-source').innerText()).toBe('http://second/ (tuner1)');
    expect(await page.getByRole('list', { name: 'Sources' }).innerText()).toMatch(
      /first[\s\S]*failed · silent · behind the others until[\s\S]*second[\s\S]*read now/,
    );
    expect(await page.getByRole('list', { name: 'Switches' }).innerText()).toMatch(
      /silent[\s\S]*http:\/\/first\/ → http:\/\/second\//,
    );
  });

  test('an empty publisher is explained, in every view', async () => {
    const { page } = await stage.open(answering({}));
    await page.getByText('No channel yet').waitFor();
    await page.getByText('No tuner is configured').waitFor();
    await page.getByRole('link', { name: 'System' }).click();
    for (const text of ['No source is held', 'No process was left behind', 'No channel is pushed'])
      await page.getByText(text).waitFor();
    await page.getByRole('link', { name: 'Events' }).click();
    await page.getByText('Nothing has been logged yet.').waitFor();
  });

  test('is asked for where no stream of events can be had, and that is said', async () => {
    const refuse = { prepare: (page: Page) => page.route('**/api/events*', (route) => route.fulfill({ status: 503 })) };
    const { page } = await stage.open(refuse);
    await page.locator('#connection').getByText('Polling').waitFor();
    await cardOf(page, 'Harbour News').waitFor();
    await page.unroute('**/api/events*');
    await page.locator('#connection').getByText('Live').waitFor();
  });
});

/** Serves until the test is over. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

describe('the connection', () => {
  test('an unreachable server at the start is an error, not an endless wait', async () => {
    const { page } = await stage.open({ prepare: (it) => it.route('**/api/*', (route) => route.abort()) });
    await page.getByText('The channels could not be read').waitFor();
    expect(await page.locator('.skeleton').count()).toBe(0);
  });

  test.each([
    ['before its snapshot', 5_000, false],
    ['after it', 15_000, true],
  ])('a stream of events that falls silent %s is given up, and the page asks instead', async (_when, ms, begins) => {
    const givenUp = Promise.withResolvers<void>();
    const url = await serve(async (_request, response) => {
      response.on('close', givenUp.resolve);
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Access-Control-Allow-Origin': '*' });
      const { events, missed, ...snapshot } = begins ? await stage.read('/api/overview') : {};
      response.write(begins ? `event: snapshot\ndata: ${JSON.stringify(snapshot)}\n\n` : ': nothing yet\n\n');
    });
    const { page } = await stage.open({
      prepare: async (it) => {
        await it.clock.install();
        await it.route('**/api/events*', (route) => route.continue({ url }));
      },
    });
    await page
      .locator('#connection')
      .getByText(begins ? 'Live' : 'Connecting')
      .waitFor();
    await page.clock.fastForward(ms);
    await page.locator('#connection').getByText('Polling').waitFor();
    await cardOf(page, 'Harbour News').waitFor();
    await page.clock.fastForward(25_000);
    await givenUp.promise;
  });

  test('a link too slow for a snapshot within seconds is no outage, and the page is live when it is whole', async () => {
    const answers: Record<string, ServerResponse> = {};
    const url = await serve((request, response) => {
      const what = request.url?.slice(1) as string;
      response.writeHead(200, { 'Content-Type': what === 'events' ? 'text/event-stream' : 'application/json' });
      response.write(what === 'events' ? 'event: snapshot\ndata: {' : '{');
      answers[what] = response;
    });
    const { page } = await stage.open({
      prepare: async (it) => {
        await it.clock.install();
        for (const what of ['events', 'overview'])
          await it.route(`**/api/${what}*`, (route) => route.continue({ url: url + what }));
      },
    });
    await eventually(() => expect(Object.keys(answers)).toEqual(['events']));
    await page.clock.fastForward(5_000);
    await eventually(() => expect(Object.keys(answers)).toEqual(['events', 'overview']));
    for (const _ of [1, 2, 3]) {
      await page.clock.fastForward(7_000);
      answers.overview?.write(' ');
      await page.evaluate("fetch('/healthz')"); // by then it came
    }
    expect(await page.locator('#connection').innerText()).toBe('Connecting…');
    const { events, missed, ...snapshot } = await stage.read('/api/overview');
    answers.events?.write(`${JSON.stringify(snapshot).slice(1)}\n\n`);
    await page.locator('#connection').getByText('Live').waitFor();
  });

  test('events that are kept no longer are counted once, whoever tells of them', async () => {
    const { events: _events, missed: _missed, ...snapshot } = await stage.read('/api/overview');
    const event = (id: string) => ({ id, at: new Date(0), level: 'info', text: id, channel: null });
    const streams: ServerResponse[] = [];
    const tell = (at: number, name: string, data: object) =>
      streams[at]?.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      streams.push(response);
    });
    const polls: Route[] = [];
    const { page } = await stage.open({
      prepare: async (it) => {
        await it.clock.install();
        await it.route('**/api/events*', (route) => route.continue({ url }));
        await it.route('**/api/overview*', (route) => void polls.push(route));
      },
    });
    await eventually(() => expect(streams).toHaveLength(1));
    tell(0, 'snapshot', snapshot);
    tell(0, 'event', event('r-1'));
    await page.locator('#log').getByText('r-1').waitFor({ state: 'attached' });
    streams[0]?.end();
    await eventually(() => expect(polls).toHaveLength(1));
    await page.clock.fastForward(1_000);
    await eventually(() => expect(streams).toHaveLength(2));
    await polls[0]?.fulfill({ json: { ...snapshot, events: [event('r-9')], missed: 7 } });
    await page.locator('#log').getByText('r-9').waitFor({ state: 'attached' });
    tell(1, 'snapshot', snapshot);
    tell(1, 'missed', { missed: 7 });
    for (const id of ['r-9', 'r-10']) tell(1, 'event', event(id));
    await page.locator('#log').getByText('r-10').waitFor({ state: 'attached' });
    expect(await page.locator('#log-empty').textContent()).toMatch(/^7 events /);
  });

  test('a page that nobody sees holds none, and goes on when it is seen again', async () => {
    const { page } = await stage.open();
    await page.locator('#connection').getByText('Live').waitFor();
    const hide = (hidden: boolean) =>
      page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'))`);
    const ended = page.waitForEvent('requestfailed', (request) => request.url().includes('/api/events'));
    await hide(true);
    await ended;
    const resumed = page.waitForRequest(/\/api\/events\?after=/);
    await hide(false);
    await resumed;
  });

  test('an outage is told with its time, the last figures stay, and events go on without loss or repeats', async () => {
    const { page } = await stage.open();
    await cardOf(page, 'Harbour News').waitFor();
    await page.getByRole('link', { name: 'Events' }).click();
    await page.locator('#log').getByText('dashboard: ').waitFor();
    const port = Number(new URL(stage.url).port);
    await stage.stopPublisher();
    await page
      .getByText(/^The publisher was lost at \d\d:\d\d:\d\d: it does not answer\. What you see is from/)
      .first()
      .waitFor();
    expect(await page.locator('#connection').innerText()).toMatch(/^Unreachable since \d\d:\d\d:\d\d$/);
    await page.getByRole('link', { name: 'Channels', exact: true }).click();
    await cardOf(page, 'Harbour News').waitFor();
    await stage.startPublisher(port);
    await page
      .locator('#connection')
      .getByText('Live')
      .waitFor({ timeout: patienceMs(30_000) });
    expect(await page.locator('#outage').isVisible()).toBe(false);
    await page.getByRole('link', { name: 'Events' }).click();
    await eventually(async () => expect(await page.locator('#log').getByText('dashboard: ').count()).toBe(2));
  });
});
