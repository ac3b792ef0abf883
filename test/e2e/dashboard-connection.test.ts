import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Route } from 'playwright-core';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { patienceMs } from '../support/promised.ts';
import { cardOf, Stage } from './dashboard-support.ts';

const stage = new Stage('dashboard-connection', ['--demo']);

/** Serves until the test is over. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

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
