import type { Page } from 'playwright-core';
import { expect, onTestFinished, test } from 'vitest';
import { Viewer } from '../publisher/support.ts';
import { eventually } from '../support/eventually.ts';
import { answering, SOME_CHANNEL, Stage } from './dashboard-support.ts';

const TOKEN = 'a-token-for-these-tests';
const stage = new Stage('dashboard-operator', ['--demo', '--operator-token', TOKEN]);

const remembered = (page: Page) => page.evaluate<string | null>("sessionStorage.getItem('holdfast-operator-token')");

async function openDetails(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Details of Harbour News' }).click();
  await page.getByRole('dialog', { name: '5.1 Harbour News' }).waitFor();
}

async function watch(): Promise<Viewer> {
  const viewer = await Viewer.open(new URL('/channels/5.1.ts', stage.url).href);
  onTestFinished(() => viewer.leave());
  await viewer.more(1_000);
  return viewer;
}

test('a watched channel is restarted with the token, which is asked once, after saying who watches', async () => {
  const { page, problems } = await stage.open();
  const viewer = await watch();
  const { openings } = await stage.channel('Harbour News');
  await openDetails(page);
  await page.locator('#details-viewers').getByText('1', { exact: true }).waitFor();
  const restart = page.getByRole('button', { name: 'Restart' });
  const ask = page.getByRole('dialog', { name: 'Restart Harbour News?' });
  await restart.click();
  expect(await ask.innerText()).toContain('1 viewer watches it now');
  await ask.getByLabel('Operator token').fill(TOKEN);
  await page.keyboard.press('Enter');
  await page.getByText('Harbour News was restarted.').waitFor();
  await eventually(async () => expect((await stage.channel('Harbour News')).openings).toBeGreaterThan(openings));
  expect(await remembered(page)).toBe(TOKEN);
  viewer.leave();
  await page.locator('#details-viewers').getByText('0', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Stop for all' }).click();
  await page.getByText('Harbour News was stopped.').waitFor();
  expect(problems).toEqual([]);
});

test('stop ends what others watch, and not before that was confirmed', async () => {
  const { page } = await stage.open();
  const viewer = await watch();
  await page.evaluate(`sessionStorage.setItem('holdfast-operator-token', '${TOKEN}')`);
  await openDetails(page);
  await page.locator('#details-viewers').getByText('1', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Stop for all' }).click();
  const ask = page.getByRole('dialog', { name: 'Stop Harbour News?' });
  await ask.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('Nothing was changed.').waitFor();
  expect(viewer.isGone).toBe(false);
  await page.getByRole('button', { name: 'Stop for all' }).click();
  await ask.getByRole('button', { name: 'OK' }).click();
  await eventually(() => expect(viewer.isGone).toBe(true));
});

test('a wrong token is said to be one, forgotten, and asked for again', async () => {
  const { page } = await stage.open();
  await openDetails(page);
  await page.getByRole('button', { name: 'Restart' }).click();
  const ask = page.getByRole('dialog', { name: 'Restart Harbour News?' });
  await ask.getByRole('button', { name: 'OK' }).click();
  await ask.getByText('Type the operator token.').waitFor();
  await ask.getByLabel('Operator token').fill('wrong');
  await ask.getByRole('button', { name: 'OK' }).click();
  await ask.getByText(/The token was refused: /).waitFor();
  expect(await remembered(page)).toBe(null);
  await page.keyboard.press('Escape');
  await page.getByText('Nothing was changed.').waitFor();
});

test('where the browser keeps nothing the token is asked once too', async () => {
  const { page, problems } = await stage.open({
    prepare: async (it) => {
      await it.addInitScript("Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError') };");
      await it.route('**/api/channels/*/stop', (route) => route.fulfill({ json: {} }));
    },
  });
  await openDetails(page);
  const stop = page.getByRole('button', { name: 'Stop for all' });
  await stop.click();
  await page.getByLabel('Operator token').fill(TOKEN);
  await page.keyboard.press('Enter');
  await page.getByText('Harbour News was stopped.').waitFor();
  const again = page.waitForRequest('**/api/channels/*/stop');
  await stop.click();
  expect((await again).headers().authorization).toBe(`Bearer ${TOKEN}`);
  expect(problems).toEqual([]);
});

test('without a configured token the buttons say how to get one', async () => {
  const publisher = { version: '1', startedAt: new Date(0), demo: false, unready: [], operable: false };
  const { page } = await stage.open(answering({ publisher, channels: [SOME_CHANNEL] }));
  await page.getByRole('button', { name: 'Details of X' }).click();
  await page.getByRole('button', { name: 'Restart' }).click();
  const ask = page.getByRole('dialog', { name: 'Restart needs an operator token' });
  expect(await ask.innerText()).toContain('--operator-token');
  expect(await ask.getByLabel('Operator token').isVisible()).toBe(false);
  await ask.getByRole('button', { name: 'OK' }).click();
  await ask.waitFor({ state: 'hidden' });
});
