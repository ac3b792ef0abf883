import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Locator, Page, Route } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { launchBrowser, type TestBrowser, type View, type WatchedPage } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { type Program, processesWithMark, startProgram } from '../support/processes.ts';

const MARK = `HOLDFAST_TEST_MARK=dashboard-${process.pid}`;
const FIRST_PICTURE_MS = 20_000;
/** The device is asked for its tuners once per second. */
const TUNER_FREE_MS = 5_000;

const lockDir = mkdtempSync(join(tmpdir(), 'holdfast-dashboard-'));
let chromium: TestBrowser;
let publisher: Program;
let url: string;

beforeAll(async () => {
  const [name = '', value] = MARK.split('=');
  const broken = 'broken=http://127.0.0.1:1/nothing-listens-here.ts';
  const args = ['--demo', '--port', '0', '--lock-dir', lockDir, '--source', broken];
  publisher = startProgram('examples/publisher/main.ts', { [name]: value }, args);
  chromium = await launchBrowser();
  const serves = /watch: ffplay (http:\/\/\S+?\/)channels/;
  url = serves.exec(await publisher.says(serves))?.[1] as string;
}, 45_000);

afterAll(async () => {
  await chromium?.[Symbol.asyncDispose]();
  await publisher?.kill('SIGTERM');
  rmSync(lockDir, { recursive: true, force: true });
  expect(await publisher?.exit, publisher?.output()).toBe(0);
  await eventually(() => expect(processesWithMark(MARK)).toEqual([]));
});

async function open(view?: View): Promise<WatchedPage> {
  const watched = await chromium.open(url, view);
  onTestFinished(() => watched.close());
  return watched;
}

interface Channel {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly viewers: number;
}

async function read<T>(path: string): Promise<T> {
  const response = await fetch(new URL(path, url));
  return (await response.json()) as T;
}
const channels = async (): Promise<Channel[]> => (await read<{ channels: Channel[] }>('/api/channels')).channels;
const channel = async (name: string) => (await channels()).find((it) => it.name === name);

async function tunersInUse(): Promise<number> {
  const { devices } = await read<{ devices: { tuners: { inUse: boolean }[] }[] }>('/api/tuners');
  return devices.flatMap(({ tuners }) => tuners).filter(({ inUse }) => inUse).length;
}

const cardOf = (page: Page, name: string): Locator =>
  page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: new RegExp(name) }) });
const play = (page: Page, name: string): Promise<void> => page.getByRole('button', { name: `Play ${name}` }).click();

const PLAYED_SECONDS = "document.querySelector('video').currentTime";
const secondsPlayed = (page: Page): Promise<number> => page.evaluate(PLAYED_SECONDS);

async function untilItPlays(page: Page, seconds: number): Promise<void> {
  await eventually(async () => {
    const shown = await page.locator('#player').innerText();
    expect(await secondsPlayed(page), `seconds played; the player says: ${shown}`).toBeGreaterThan(seconds);
  }, FIRST_PICTURE_MS);
}

/** The brightness of 64 by 36 points of the picture. */
const pictureOf = (page: Page): Promise<number[]> =>
  page.evaluate(`(() => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [64, 36];
    const context = canvas.getContext('2d');
    context.drawImage(document.querySelector('video'), 0, 0, 64, 36);
    const { data } = context.getImageData(0, 0, 64, 36);
    return Array.from({ length: 64 * 36 }, (_, at) => data[at * 4] + data[at * 4 + 1] + data[at * 4 + 2]);
  })()`);

describe('the list', () => {
  test('shows every channel with its number, state, viewers, holder and stream address', async () => {
    const { page, problems } = await open();
    const listed = await channels();
    expect(listed).toHaveLength(4);

    await page.locator('.card:not(.skeleton)').nth(3).waitFor();
    expect(await page.title()).toBe('Live channels · Holdfast publisher');
    expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('Holdfast publisher');
    expect(await page.getByText('Demo', { exact: true }).isVisible()).toBe(true);
    expect(await page.locator('#connection').innerText()).toBe('Connected');
    expect(await page.locator('.card h3').count()).toBe(listed.length);
    for (const { id, name } of listed) {
      const card = cardOf(page, name);
      expect(await card.innerText()).toContain('Idle');
      expect(await card.locator('[data-part=viewers]').innerText()).toBe('0');
      expect(await card.innerText()).toContain('nobody');
      const address = card.getByLabel('Paste into VLC or ffplay');
      expect(await address.inputValue()).toBe(new URL(`/channels/${id}.ts`, url).href);
    }
    expect(problems).toEqual([]);
  });

  test('shows the tuners and how many are in use', async () => {
    const { page } = await open();
    const tuners = page.getByRole('region', { name: 'Tuners' });
    await tuners.getByText('Reachable', { exact: true }).waitFor();
    expect(await tuners.getByText('Free', { exact: true }).count()).toBe(2);
    expect(await page.locator('#total-tuners').innerText()).toBe('0 of 2');
  });

  test('copies a stream address', async () => {
    const { page } = await open();
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: 'Copy the stream address of Harbour News' }).click();
    await page.getByText('Copied', { exact: true }).waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toMatch(/^http:.*\/channels\/5\.1\.ts$/);
  });
});

describe('the player', () => {
  test('shows a moving picture, counts one viewer, and stop frees the tuner', async () => {
    const { page, problems } = await open();
    await play(page, 'Harbour News');
    await untilItPlays(page, 0.5);
    const [before, playedBefore] = [await pictureOf(page), await secondsPlayed(page)];
    await untilItPlays(page, playedBefore + 1);
    const after = await pictureOf(page);

    expect(Math.max(...before) - Math.min(...before), 'contrast in the picture').toBeGreaterThan(100);
    expect(
      before.filter((point, at) => Math.abs(point - (after[at] as number)) > 30).length,
      'points that moved',
    ).toBeGreaterThan(5);
    expect(await page.title()).toBe('Harbour News · Holdfast publisher');

    const card = cardOf(page, 'Harbour News');
    await card.getByText(/^Live for/).waitFor();
    expect(await card.locator('[data-part=viewers]').innerText()).toBe('1');
    expect(await card.innerText()).toContain('this publisher');
    await card
      .locator('[data-part=in]')
      .getByText(/[1-9].* [kM]bit\/s/)
      .waitFor();
    await page.getByRole('region', { name: 'Tuners' }).getByText('5.1 Harbour News').waitFor();
    expect(await channel('Harbour News')).toMatchObject({ state: 'live', viewers: 1 });
    expect(await tunersInUse()).toBe(1);

    await page.getByRole('region', { name: 'Harbour News' }).getByRole('button', { name: 'Stop' }).click();
    await eventually(async () => {
      expect(await channel('Harbour News')).toMatchObject({ state: 'idle', viewers: 0 });
      expect(await tunersInUse()).toBe(0);
    }, TUNER_FREE_MS);
    await card.getByText('Idle').waitFor();
    expect(await page.evaluate('document.activeElement.ariaLabel'), 'where the focus went').toBe('Play Harbour News');
    expect(problems).toEqual([]);
  });

  test('closes the former channel when another is chosen, by keyboard alone', async () => {
    const { page, problems } = await open();
    for (const [name, former] of [['Harbour News'], ['Granite Sport', 'Harbour News']] as const) {
      await page.getByRole('button', { name: `Play ${name}` }).focus();
      await page.keyboard.press('Enter');
      await untilItPlays(page, 0);
      await page.getByRole('region', { name }).getByText('buffered').waitFor();
      expect(await channel(name)).toMatchObject({ state: 'live', viewers: 1 });
      if (former) expect(await channel(former)).toMatchObject({ viewers: 0 });
    }
    await eventually(async () => expect(await tunersInUse()).toBe(1), TUNER_FREE_MS);
    await page.getByRole('button', { name: 'Stop Granite Sport' }).press('Space');
    await eventually(async () => expect(await tunersInUse()).toBe(0), TUNER_FREE_MS);
    expect(problems).toEqual([]);
  });

  test('lets go of the tuner when the page is left', async () => {
    const { page, problems } = await open();
    await play(page, 'Harbour News');
    await untilItPlays(page, 0);
    await page.goto('about:blank');
    await eventually(async () => {
      expect(await channel('Harbour News')).toMatchObject({ viewers: 0 });
      expect(await tunersInUse()).toBe(0);
    }, TUNER_FREE_MS);
    expect(problems).toEqual([]);
  });

  test.each([
    ['before its first byte', []],
    ['after it began', [Buffer.alloc(188 * 100, 0x47)]],
  ])('ends the connection to a channel that stalls %s', async (_when, chunks) => {
    const stalls = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'video/mp2t' });
      for (const chunk of chunks) response.write(chunk);
      response.flushHeaders();
    });
    stalls.listen(0, '127.0.0.1');
    await once(stalls, 'listening');
    onTestFinished(() => void stalls.close().closeAllConnections());
    const elsewhere = `http://127.0.0.1:${(stalls.address() as AddressInfo).port}/`;
    const { page } = await open({
      prepare: (it) => it.route('**/channels/*.ts', (route) => route.continue({ url: elsewhere })),
    });
    const [[request]] = await Promise.all([once(stalls, 'request'), play(page, 'Harbour News')]);
    const closed = once(request.socket, 'close');
    await page.locator('#player').getByText('Opening Harbour News').waitFor();
    await page.getByRole('button', { name: 'Stop Harbour News' }).click();
    await closed;
  });

  test('shows why a source fails, asks no second time by itself, and retries when told to', async () => {
    const { page } = await open();
    const asked: string[] = [];
    page.on('request', (request) => request.url().endsWith('/channels/broken.ts') && asked.push(request.url()));
    const player = page.locator('#player');
    await play(page, 'broken');
    await player.getByText('The source could not be read').waitFor();
    expect(await player.locator('#cover-detail').innerText()).toMatch(/refused|ffmpeg/i);
    await cardOf(page, 'broken').getByText('The source could not be read').waitFor();
    await page.waitForResponse('**/api/channels');
    expect(asked).toHaveLength(1);

    await player.getByRole('button', { name: 'Try again' }).click();
    await eventually(() => expect(asked).toHaveLength(2));
    await player.getByText('The source could not be read').waitFor();
    expect(await page.getByRole('button', { name: 'Play broken' }).isEnabled()).toBe(true);
  });

  test.each([
    [404, {}, 'There is no such channel'],
    [409, { title: 'Another process holds this source', detail: 'pid 4711 since noon' }, 'pid 4711 since noon'],
    [503, { title: 'No tuner is free', detail: 'both are taken' }, 'both are taken Try again in 7 s.'],
    [504, { detail: 'nothing within 15 s' }, 'The source did not start in time'],
  ])('shows the problem of a %i', async (status, problem, text) => {
    const refuse = (route: Route) => route.fulfill({ status, json: problem, headers: { 'Retry-After': '7' } });
    const { page } = await open({ prepare: (it) => it.route('**/channels/*.ts', refuse) });
    await play(page, 'Harbour News');
    await page.locator('#player').getByText(text).waitFor();
    expect(await page.locator('#player').getByRole('button', { name: 'Try again' }).isVisible()).toBe(true);
  });
});

describe('what the server says', () => {
  const some = {
    id: 'x',
    name: 'X',
    number: '1.1',
    url: '/channels/x.ts',
    state: 'idle',
    viewers: 0,
    bytesIn: 0,
    bytesOut: 0,
    liveSince: null,
    source: 'http://tuner/auto/v1.1',
    available: true,
    holder: null,
    lastError: null,
  };
  const holder = {
    pid: 4711,
    host: 'media-1',
    startedAt: new Date(0).toISOString(),
    command: '/usr/bin/ffmpeg -i http://tuner/auto/v1.1',
    key: 'k',
    path: '/run/holdfast/locks/k.lock',
    verified: 'kernel+meta',
  };
  const answers = (...bodies: object[]): View => ({
    prepare: async (page) => {
      await page.route('**/api/tuners', (route) => route.fulfill({ json: { devices: [] } }));
      let next = 0;
      const answer = () => ({
        now: new Date(next * 1_000).toISOString(),
        demo: false,
        ...bodies[Math.min(next++, bodies.length - 1)],
      });
      await page.route('**/api/channels', (route) => route.fulfill({ json: answer() }));
    },
  });

  test('is shown as text, whatever it contains', async () => {
    const name = '<img src=x onerror=alert(1)>';
    const { page, problems } = await open(
      answers({ channels: [{ ...some, name, lastError: { at: 0, title: name, detail: name } }] }),
    );
    await page.getByRole('heading', { name }).waitFor();
    expect(await page.locator('img').count()).toBe(0);
    expect(problems).toEqual([]);
  });

  test('gives the bitrate by what the counters grew', async () => {
    const live = { ...some, state: 'live', viewers: 2, liveSince: new Date(0).toISOString() };
    const { page } = await open(
      answers({ channels: [live] }, { channels: [{ ...live, bytesIn: 500_000, bytesOut: 1_000_000 }] }),
    );
    const card = cardOf(page, 'X');
    await card.getByText('4.00 Mbit/s').waitFor();
    expect(await card.locator('[data-part=out]').innerText()).toBe('8.00 Mbit/s');
  });

  test('names another process that holds a source, and an orphan as one', async () => {
    const { page } = await open(answers({ channels: [{ ...some, holder: { ...holder, orphanOf: 4242 } }] }));
    const card = cardOf(page, 'X');
    await card.getByText('another process').waitFor();
    expect(await card.innerText()).toMatch(/ffmpeg, pid 4711, since/);
    expect(await card.innerText()).toContain('Left behind by process 4242');
    await card.locator('summary').click();
    expect(await card.getByText(holder.command).isVisible()).toBe(true);
    expect(await card.getByText(holder.path).isVisible()).toBe(true);
  });

  test('an empty list is explained', async () => {
    const { page } = await open(answers({ channels: [] }));
    await page.getByText('No channel yet').waitFor();
    await page.getByText('No tuner is configured').waitFor();
  });

  test('a long list can be filtered', async () => {
    const many = Array.from({ length: 30 }, (_, at) => ({
      ...some,
      id: `c${at}`,
      name: `Channel ${at}`,
      number: `${at}.1`,
    }));
    const { page } = await open(answers({ channels: many }));
    await page.getByLabel('Filter channels').fill('channel 17');
    await eventually(async () => expect(await page.locator('.card:visible').count()).toBe(1));
    await page.getByLabel('Filter channels').fill('nothing');
    await page.getByText('No channel matches “nothing”').waitFor();
  });

  test('an outage is told with its time, the last figures stay, and it is over by itself', async () => {
    const { page } = await open();
    await cardOf(page, 'Harbour News').waitFor();
    await page.route('**/api/*', (route) => route.abort());
    await page
      .getByText(/^The publisher was lost at \d\d:\d\d:\d\d: it does not answer\. What you see is from/)
      .first()
      .waitFor();
    expect(await page.locator('#connection').innerText()).toMatch(/^Unreachable since \d\d:\d\d:\d\d$/);
    expect(await cardOf(page, 'Harbour News').isVisible()).toBe(true);
    await page.unroute('**/api/*');
    await page.getByText('Connected', { exact: true }).waitFor();
    expect(await page.locator('#outage').isVisible()).toBe(false);
  });

  test('an unreachable server at the start is an error, not an endless wait', async () => {
    const { page } = await open({ prepare: (it) => it.route('**/api/*', (route) => route.abort()) });
    await page.getByText('The channels could not be read').waitFor();
    expect(await page.locator('.skeleton').count()).toBe(0);
  });

  test('is not asked for while the tab is hidden', async () => {
    const { page } = await open({ prepare: (it) => it.clock.install() });
    await cardOf(page, 'Harbour News').waitFor();
    const hide = (hidden: boolean) =>
      page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'))`);
    await hide(true);
    await page.waitForLoadState('networkidle');
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.clock.runFor(30_000);
    expect(asked).toEqual([]);
    const resumed = page.waitForRequest('**/api/channels');
    await hide(false);
    await resumed;
  });
});

describe.each(['light', 'dark'] as const)('in a %s scheme', (colorScheme) => {
  test.each([
    [360, 740],
    [768, 1024],
    [1920, 1080],
    [3840, 2160],
  ])('a screen of %i by %i shows all of it, readable and named', async (width, height) => {
    const { page, problems } = await open({ width, height, colorScheme, prepare: answerAfterPaint });
    await cardOf(page, 'Harbour News').waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), 'to scroll sideways').toBe(0);
    expect(await page.evaluate(TOO_FAINT)).toEqual([]);
    expect(await page.evaluate(UNNAMED)).toEqual([]);
    const { shift, moved } = await page.evaluate<{ shift: number; moved: string[] }>(SHIFTED);
    expect(shift, `cumulative layout shift, of ${moved.join(', ')}`).toBeLessThan(0.02);
    const ground = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
    const brightness = Math.max(...(ground.match(/\d+/g) ?? []).map(Number));
    expect(brightness > 128 ? 'light' : 'dark').toBe(colorScheme);
    expect(problems).toEqual([]);
  });
});

/** As a slow server does: what the answers bring must not move what is on the screen by then. */
async function answerAfterPaint(page: Page): Promise<void> {
  await page.route('**/api/*', async (route) => {
    await page.evaluate(PAINTED);
    await route.continue();
  });
}

const PAINTED = 'new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))';

/** Texts whose contrast with what is behind them is below 4.5:1 (WCAG AA). */
const TOO_FAINT = `(() => {
  const parse = (color) => { const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.a === 1) return color;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const faint = [];
  for (const node of document.body.querySelectorAll('*')) {
    const text = [...node.childNodes].some((it) => it.nodeType === 3 && it.data.trim()) || node.localName === 'input';
    if (!text || node.closest('template, noscript, :disabled') || !node.checkVisibility({ visibilityProperty: true })) continue;
    const [high, low] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) faint.push(node.className + ' ' + node.textContent.trim().slice(0, 30) + ' ' + contrast.toFixed(2));
  }
  return faint;
})()`;

/** Controls and regions without a name for those who can't see them. */
const UNNAMED = `[...document.querySelectorAll('button, input, video, section, h1, h2, h3')]
  .filter((node) => !node.closest('[hidden]'))
  .filter((node) => !(node.ariaLabel || node.textContent.trim() || node.labels?.[0]?.textContent.trim()
    || document.getElementById(node.getAttribute('aria-labelledby'))?.textContent.trim()))
  .map((node) => node.outerHTML.slice(0, 100))`;

const SHIFTED = `new Promise((resolve) => {
  const found = { shift: 0, moved: [] };
  new PerformanceObserver((list) => {
    for (const it of list.getEntries().filter(({ hadRecentInput }) => !hadRecentInput)) {
      found.shift += it.value;
      for (const { node } of it.sources) found.moved.push(node?.id || node?.className || node?.nodeName || 'what is gone');
    }
  }).observe({ type: 'layout-shift', buffered: true });
  ${PAINTED}.then(() => resolve(found));
})`;
