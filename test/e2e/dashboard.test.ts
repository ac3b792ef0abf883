import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Route } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { makeRecording, Viewer } from '../publisher/support.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { cardOf, pictureOf, play, Stage, shiftsOf, untilItPlays, untilThePictureMoves } from './dashboard-support.ts';

/** The device is asked for its tuners once per second. */
const TUNER_FREE_MS = 5_000;

const recording = join(temporaryDirectory(afterAll), 'mpeg2.ts');
beforeAll(() => makeRecording(recording));

/** What Safari on an iPhone has, which tells when it wants to be fed. */
const ONLY_MANAGED = `
  window.ManagedMediaSource = class extends MediaSource {
    streaming = true;
    constructor() {
      super();
      this.addEventListener('sourceopen', () => this.dispatchEvent(new Event('startstreaming')));
    }
  };
  delete window.MediaSource;`;
/** And what it had before. */
const NO_MEDIA_SOURCE = 'delete window.MediaSource; delete window.ManagedMediaSource;';

const sources = ['broken=http://127.0.0.1:1/nothing-listens-here.ts', `mpeg2=${recording}`];
const stage = new Stage('dashboard', ['--demo', ...sources.flatMap((source) => ['--source', source])]);

describe('the list', () => {
  test('shows every channel with its number, state and viewers, and the tuners', async () => {
    const { page, problems } = await stage.open();
    const { channels } = await stage.read('/api/channels');
    expect(channels).toHaveLength(5);
    await page.locator('.card:not(.skeleton)').nth(4).waitFor();
    expect(await page.title()).toBe('Live channels · Holdfast publisher');
    expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('Holdfast publisher');
    expect(await page.getByText('Demo', { exact: true }).isVisible()).toBe(true);
    await page.locator('#connection').getByText('Live').waitFor();
    for (const { name } of channels) {
      const card = cardOf(page, name);
      expect(await card.innerText()).toMatch(/Idle/);
      expect(await card.locator('[data-part=viewers]').innerText()).toBe('0 viewers');
    }
    const tuners = page.getByRole('region', { name: 'Tuners' });
    await tuners.getByText('Reachable', { exact: true }).waitFor();
    expect(await tuners.getByText('Free', { exact: true }).count()).toBe(2);
    expect(await page.locator('#total-tuners').innerText()).toBe('0 of 2');
    expect(problems).toEqual([]);
  });

  test('remembers favourites, and shows them alone', async () => {
    const { page } = await stage.open();
    await page.getByRole('button', { name: 'Favourite: Granite Sport' }).click();
    await page.reload();
    const star = page.getByRole('button', { name: 'Favourite: Granite Sport' });
    await star.waitFor();
    expect(await star.getAttribute('aria-pressed')).toBe('true');
    await page.getByLabel('Which channels').selectOption('favourites');
    await eventually(async () => {
      const names = await page.locator('.card h3').allInnerTexts();
      expect(names.some((name) => name.includes('Granite Sport'))).toBe(true);
      expect(names.some((name) => name.includes('broken'))).toBe(false);
    });
  });

  test('gives the address of a channel to copy', async () => {
    const { page } = await stage.open();
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: 'Details of Harbour News' }).click();
    const details = page.getByRole('dialog', { name: '5.1 Harbour News' });
    expect(await page.locator('#details-state').innerText()).toBe('Idle');
    await details.getByRole('button', { name: 'Copy' }).click();
    await details.getByText('Copied', { exact: true }).waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toMatch(/^http:.*\/channels\/5\.1\.ts$/);
    await page.keyboard.press('Escape');
    expect(await page.evaluate('document.activeElement.ariaLabel')).toBe('Details of Harbour News');
  });
});

describe('previews', () => {
  test('come by themselves where a channel is watched, the next in place of the last, and move nothing', async () => {
    for (const id of ['5.1', '7.1']) {
      const viewer = await Viewer.open(new URL(`/channels/${id}.ts`, stage.url).href);
      onTestFinished(() => viewer.leave());
      await viewer.more();
      await fetch(new URL(`/channels/${id}/preview.jpg`, stage.url)); // has it made while the page is opened
    }
    // Instead of waiting for the publisher to make the next, it is that of another channel.
    let newer = '/channels/5.1/preview.jpg';
    const { page, problems } = await stage.open({
      prepare: (it) =>
        it.route('**/channels/5.1/preview.jpg', (route) => route.continue({ url: new URL(newer, stage.url).href })),
    });
    const shown = '[data-id="5.1"] .thumb img:not([hidden])';
    await page.locator(shown).waitFor();
    const before = await pictureOf(page, shown);
    expect(Math.max(...before) - Math.min(...before), 'contrast in the picture').toBeGreaterThan(100);
    await page.locator('[data-id="7.1"] .thumb img').waitFor();
    newer = '/channels/7.1/preview.jpg';
    await eventually(async () => {
      const after = await pictureOf(page, shown);
      const moved = before.filter((point, at) => Math.abs(point - (after[at] as number)) > 30);
      expect(moved.length, 'points that are others').toBeGreaterThan(5);
    }, patienceMs(15_000));
    expect(await page.locator('.thumb img:not([hidden])').count(), 'pictures of what is not watched').toBe(2);
    const { moved } = await shiftsOf(page);
    const inCards = moved.filter((name) => !['views', 'connection'].includes(name));
    expect(inCards, 'what moved beside the head of the page').toEqual([]);
    expect(problems).toEqual([]);
  });
});

/** Who watched before may have left just now, and is looked for once a second. */
const untilOneTunerIsUsed = () =>
  eventually(async () => expect(await stage.tunersInUse()).toBe(1), patienceMs(TUNER_FREE_MS));

describe('the player', () => {
  test('shows a moving picture, counts one viewer, and stop frees the tuner', async () => {
    const { page, problems } = await stage.open();
    await play(page, 'Harbour News');
    await untilThePictureMoves(page);
    expect(await page.title()).toBe('Harbour News · Holdfast publisher');

    const card = cardOf(page, 'Harbour News');
    await card.getByText(/^Live/).waitFor();
    await card.getByText('1 viewer', { exact: true }).waitFor();
    await card.getByText(/[1-9].* [kM]bit\/s/).waitFor();
    await page.getByRole('region', { name: 'Tuners' }).getByText('5.1 Harbour News').waitFor();
    await page.locator('#locks').getByText(`This publisher: node, pid ${stage.pid} `).waitFor({ state: 'attached' });
    expect(await stage.channel('Harbour News')).toMatchObject({ state: 'live', viewers: 1 });
    await untilOneTunerIsUsed();

    await page.getByRole('region', { name: 'Harbour News' }).getByRole('button', { name: 'Stop' }).click();
    await eventually(async () => {
      expect(await stage.channel('Harbour News')).toMatchObject({ state: 'idle', viewers: 0 });
      expect(await stage.tunersInUse()).toBe(0);
    }, TUNER_FREE_MS);
    await card.getByText('Idle').waitFor();
    expect(await page.evaluate('document.activeElement.ariaLabel'), 'where the focus went').toBe('Play Harbour News');
    expect(problems).toEqual([]);
  });

  test('has converted what the browser can not decode, without being told to', async () => {
    const { page, problems } = await stage.open();
    await play(page, 'mpeg2');
    await page.locator('#player-facts').getByText('converted').waitFor();
    await untilThePictureMoves(page);
    expect(await stage.channel('mpeg2')).toMatchObject({ codecs: ['MPEG-2 video', 'MPEG audio'], viewers: 1 });
    const asked: string[] = [];
    page.on('request', (request) => request.url().includes('/channels/') && asked.push(request.url()));
    await page.getByRole('button', { name: 'Stop mpeg2' }).click();
    await play(page, 'mpeg2');
    await untilItPlays(page, 0);
    const streams = asked.filter((url) => url.includes('.ts')).map((url) => new URL(url).search);
    expect(streams, 'it is known by now').toEqual(['?profile=web']);
    expect(problems).toEqual([]);
  });

  test('closes the former channel when another is chosen, by keyboard alone', async () => {
    const { page, problems } = await stage.open();
    for (const [name, former] of [['Harbour News'], ['Granite Sport', 'Harbour News']] as const) {
      await page.getByRole('button', { name: `Play ${name}` }).focus();
      await page.keyboard.press('Enter');
      await untilItPlays(page, 0);
      await page.getByRole('region', { name }).getByText('buffered').waitFor();
      expect(await page.evaluate("document.querySelector('video').muted"), 'muted').toBe(former === undefined);
      if (!former) await page.getByRole('button', { name: 'Sound' }).press('Space');
      expect(await stage.channel(name)).toMatchObject({ state: 'live', viewers: 1 });
      if (former) expect(await stage.channel(former)).toMatchObject({ viewers: 0 });
    }
    await eventually(async () => expect(await stage.tunersInUse()).toBe(1), TUNER_FREE_MS);
    await page.getByRole('button', { name: 'Stop Granite Sport' }).press('Space');
    await eventually(async () => expect(await stage.tunersInUse()).toBe(0), TUNER_FREE_MS);
    expect(problems).toEqual([]);
  });

  test('lets go of the tuner when the page is left', async () => {
    const { page, problems } = await stage.open();
    await play(page, 'Harbour News');
    await untilItPlays(page, 0);
    await page.goto('about:blank');
    await eventually(async () => {
      expect(await stage.channel('Harbour News')).toMatchObject({ viewers: 0 });
      expect(await stage.tunersInUse()).toBe(0);
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
    const { page } = await stage.open({
      prepare: (it) => it.route('**/channels/*.ts', (route) => route.continue({ url: elsewhere })),
    });
    const [[request]] = await Promise.all([once(stalls, 'request'), play(page, 'Harbour News')]);
    const closed = once(request.socket, 'close');
    await page.locator('#player').getByText('Opening Harbour News').waitFor();
    await page.getByRole('button', { name: 'Stop Harbour News' }).click();
    await closed;
  });

  test('shows why a source fails, asks no second time by itself, and retries when told to', async () => {
    const { page } = await stage.open();
    const asked: string[] = [];
    page.on('request', (request) => request.url().endsWith('/channels/broken.ts') && asked.push(request.url()));
    const player = page.locator('#player');
    await play(page, 'broken');
    await player.getByText('The source could not be read').waitFor();
    expect(await player.locator('#cover-detail').innerText()).toMatch(/refused|ffmpeg/i);
    expect(await player.getByRole('button', { name: /^Play / }).isVisible(), 'another way').toBe(false);
    await cardOf(page, 'broken').getByText('The source could not be read').waitFor();
    await page.getByRole('button', { name: 'Details of broken' }).click();
    await page.getByRole('dialog').getByText('What to do: ').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    expect(asked).toHaveLength(1);

    await player.getByRole('button', { name: 'Try again' }).click();
    await eventually(() => expect(asked).toHaveLength(2));
    await player.getByText('The source could not be read').waitFor();
    expect(await page.getByRole('button', { name: 'Play broken' }).isEnabled()).toBe(true);
  });

  test('shows the problem of each refusal', async () => {
    const { page } = await stage.open();
    for (const [status, problem, text] of [
      [404, {}, 'There is no such channel'],
      [409, { title: 'Another process holds this source', detail: 'pid 4711 since noon' }, 'pid 4711 since noon'],
      [503, { title: 'No tuner is free', detail: 'both are taken' }, 'both are taken Try again in 7 s.'],
      [504, { detail: 'nothing within 15 s' }, 'The source did not start in time'],
    ] as const) {
      await page.route('**/channels/*.ts', (route) =>
        route.fulfill({ status, json: problem, headers: { 'Retry-After': '7' } }),
      );
      await play(page, 'Harbour News');
      await page.locator('#player').getByText(text).waitFor();
      expect(await page.locator('#player').getByRole('button', { name: 'Try again' }).isVisible(), text).toBe(true);
    }
  });
});

/** Chromium's own HLS fails where the playlist is shorter than three target durations, as it is at its begin. */
async function untilHlsHasBegun(id: string): Promise<void> {
  const url = new URL(`/channels/${id}/hls/index.m3u8`, stage.url);
  const media = (await (await fetch(url)).text()).trim().split('\n').at(-1) as string;
  await eventually(async () => {
    const playlist = await (await fetch(new URL(media, url))).text();
    expect(playlist.match(/#EXTINF/g)?.length).toBeGreaterThan(5);
  }, patienceMs(20_000));
}

describe('HLS', () => {
  test('goes on by HLS where the player of MPEG-TS can not be had', async () => {
    const { page } = await stage.open({ prepare: (it) => it.route('**/assets/mpegts.js', (route) => route.abort()) });
    await play(page, 'Harbour News');
    await untilThePictureMoves(page);
    await page.locator('#player-facts').getByText('HLS').waitFor();
    await untilOneTunerIsUsed();
    // It says that it leaves: else nobody would know before fifteen seconds are over.
    await page.goto('about:blank');
    await eventually(async () => expect(await stage.tunersInUse()).toBe(0), TUNER_FREE_MS);
  });

  test.each([
    ['no media source but a managed one', ONLY_MANAGED],
    ['no media source at all, but HLS of its own', NO_MEDIA_SOURCE],
  ])('plays in a browser that has %s', async (_what, script) => {
    const { page, problems } = await stage.open({ prepare: (it) => it.addInitScript(script) });
    if (script === NO_MEDIA_SOURCE) await untilHlsHasBegun('5.1');
    await play(page, 'Harbour News');
    await untilThePictureMoves(page);
    await page.locator('#player-facts').getByText('HLS').waitFor();
    await page.getByRole('button', { name: 'Stop Harbour News' }).click();
    // The browser itself does not say which session it was.
    if (script !== NO_MEDIA_SOURCE)
      await eventually(async () => expect(await stage.tunersInUse()).toBe(0), TUNER_FREE_MS);
    expect(problems).toEqual([]);
  });

  test('is refused in the words of the publisher', async () => {
    const problem = { title: 'No tuner is free', detail: 'both are taken' };
    const { page } = await stage.open({
      prepare: async (it) => {
        await it.addInitScript(ONLY_MANAGED);
        const refuse = (route: Route) => route.fulfill({ status: 503, json: problem, headers: { 'Retry-After': '7' } });
        await it.route('**/hls/index.m3u8', refuse);
      },
    });
    await play(page, 'Harbour News');
    await page.locator('#player').getByText('both are taken Try again in 7 s.').waitFor();
  });
});
