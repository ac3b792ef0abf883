import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import {
  answering,
  cardOf,
  PAINTED,
  play,
  SOME_CHANNEL,
  Stage,
  shiftsOf,
  untilItPlays,
  violations,
} from './dashboard-support.ts';

const broken = 'broken=http://127.0.0.1:1/nothing.ts';
const stage = new Stage('dashboard-access', ['--demo', '--source', broken]);

const fault = { at: new Date(0), title: 'The source could not be read', detail: 'x\ny', advice: 'Look at it.' };
const holder = {
  pid: 4711,
  host: 'm',
  startedAt: new Date(0),
  command: '/usr/bin/ffmpeg -i x',
  key: 'k',
  verified: 'kernel',
};
const refusal = { why: 'cooldown', retryAfterMs: 20_000, retryAt: new Date(20_000) };
const device = {
  ...{ id: '1B3D7F88', url: 'http://tuner/', lastError: 'it does not answer', channels: 3, refreshedAt: new Date(0) },
  reachable: false,
  tuners: [{ resource: 'tuner0', inUse: true, channelNumber: '5.1', channelName: 'News', targetIp: '127.0.0.1' }],
};
const event = { id: 'r-1', at: new Date(0), level: 'error', text: 'channel x: it failed', channel: 'x' };

/** All that can be wrong at once, and what is well. */
const EVERYTHING = {
  channels: [
    {
      ...SOME_CHANNEL,
      id: 'live',
      name: 'Live one',
      state: 'live',
      viewers: 2,
      liveSince: new Date(0),
      favorite: true,
    },
    { ...SOME_CHANNEL, id: 'gone', name: 'Gone', available: false, lastError: fault, refusal, continuityErrors: 3 },
    { ...SOME_CHANNEL, id: 'held', name: 'Held', holder },
    { ...SOME_CHANNEL, id: 'opening', name: 'Opening one', state: 'opening' },
  ],
  publisher: { version: '1', startedAt: new Date(0), demo: true, unready: ['no ffmpeg'], operable: false },
  tuners: [device, { ...device, id: '2', reachable: true, lastError: null }],
  locks: [{ ...holder, orphanOf: 4242 }],
  orphans: [{ pid: 77, ownerPid: 4242, command: 'ffmpeg', startedAt: new Date(0), ended: false }],
  pushes: [{ id: 'p', channel: 'x', url: 'udp://h:1', state: 'failed', profile: 'copy', why: 'refused' }],
  events: [event, { ...event, id: 'r-2', level: 'warn' }, { ...event, id: 'r-3', level: 'info' }],
};

const SCHEMES = ['light', 'dark'] as const;

/** The page as it is, in both schemes: they differ in their colours alone. */
async function inBothSchemes(page: Page, check: (scheme: 'light' | 'dark') => Promise<unknown>): Promise<void> {
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    await check(colorScheme);
  }
}

const findsNothing = (page: Page, where: string) =>
  inBothSchemes(page, async (scheme) => {
    const found = await violations(page, scheme === 'light' ? 'all' : 'colours');
    expect(found, `${where}, ${scheme}`).toEqual([]);
  });

test('axe finds nothing in any view, nor in the dialogs', async () => {
  const { page } = await stage.open(answering(EVERYTHING));
  await cardOf(page, 'Gone').waitFor();
  for (const view of ['Channels', 'System', 'Events']) {
    await page.locator('.views').getByRole('link', { name: view }).click();
    await page.locator(`#${view.toLowerCase()}`).waitFor();
    await findsNothing(page, view);
  }
  await page.locator('.views').getByRole('link', { name: 'Channels' }).click();
  await page.getByRole('button', { name: 'Details of Gone' }).click();
  await findsNothing(page, 'details');
  await page.getByRole('dialog').getByRole('button', { name: 'Restart' }).click();
  await page.getByRole('dialog', { name: 'Restart needs an operator token' }).waitFor();
  await findsNothing(page, 'without a token');
});

test('axe finds nothing while it loads, with nothing to show, while it plays and after it failed', async () => {
  const { page: loading } = await stage.open({ prepare: (it) => it.route('**/api/*', () => {}) });
  await findsNothing(loading, 'loading');
  const { page: empty } = await stage.open(answering({}));
  await empty.getByText('No channel yet').waitFor();
  await findsNothing(empty, 'empty');
  const { page } = await stage.open();
  await page.getByLabel('Filter channels').fill('harbour');
  await play(page, 'Harbour News');
  await untilItPlays(page, 0);
  await findsNothing(page, 'playing');
  await page.getByLabel('Filter channels').fill('broken');
  await play(page, 'broken');
  await page.locator('#player').getByRole('button', { name: 'Try again' }).waitFor();
  await findsNothing(page, 'failed');
});

test.each([
  [320, 640],
  [768, 1024],
  [1280, 800],
  [2560, 1440],
])('a screen of %i by %i shows all of it, and nothing moves while it comes', async (width, height) => {
  const { page, problems } = await stage.open({ width, height, prepare: answerAfterPaint });
  await cardOf(page, 'Harbour News').waitFor();
  await page.locator('#connection').getByText('Live').waitFor();
  const { shift, moved } = await shiftsOf(page);
  expect(shift, `cumulative layout shift, of ${moved.join(', ')}`).toBeLessThan(0.05);
  const overflow = 'document.documentElement.scrollWidth - innerWidth';
  for (const view of ['System', 'Events', 'Channels']) {
    await page.locator('.views').getByRole('link', { name: view }).click();
    await inBothSchemes(page, async (scheme) =>
      expect(await page.evaluate(overflow), `to scroll sideways in ${view}, ${scheme}`).toBe(0),
    );
  }
  await page.getByRole('button', { name: 'Details of Harbour News' }).click();
  await inBothSchemes(page, async (scheme) => {
    expect(await page.evaluate("document.getElementById('details').scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
    const ground = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
    const brightness = Math.max(...(ground.match(/\d+/g) ?? []).map(Number));
    expect(brightness > 128 ? 'light' : 'dark').toBe(scheme);
  });
  expect(problems).toEqual([]);
});

test('all of it is reached and worked by keyboard alone, in order, and the focus is always to be seen', async () => {
  const { page } = await stage.open(answering(EVERYTHING));
  await cardOf(page, 'Gone').waitFor();
  const focused = () =>
    page.evaluate<string>(
      'document.activeElement.ariaLabel || document.activeElement.innerText || document.activeElement.id',
    );
  const reached: string[] = [];
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press('Tab');
    const name = await focused();
    if (await page.evaluate('document.activeElement === document.body')) break;
    if (reached.includes(name)) break;
    reached.push(name);
    const outline = await page.evaluate<string>('getComputedStyle(document.activeElement).outlineStyle');
    expect(outline, `the focus on ${name}`).not.toBe('none');
  }
  expect(reached[0]).toBe('Skip to the channels');
  for (const name of ['Play Live one', 'Favourite: Live one', 'Details of Live one', 'Details of Held'])
    expect(reached).toContain(name);
  await page.getByRole('button', { name: 'Details of Held' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: '1.1 Held' }).waitFor();
  await page.keyboard.press('Escape');
  expect(await focused()).toBe('Details of Held');
});

test('nothing moves by itself for those who want that', async () => {
  const { page } = await stage.open({
    ...answering(EVERYTHING),
    prepare: async (it) => {
      await it.emulateMedia({ reducedMotion: 'reduce' });
      await answering(EVERYTHING).prepare?.(it);
    },
  });
  await cardOf(page, 'Opening one').waitFor();
  await eventually(async () => expect(await page.evaluate('document.getAnimations().length')).toBe(0));
});

/** As a slow server does: what the answers bring must not move what is on the screen by then. */
async function answerAfterPaint(page: Page): Promise<void> {
  await page.route('**/api/*', async (route) => {
    await page.evaluate(PAINTED);
    await route.continue();
  });
}
