// Makes the pictures of the dashboard that the README shows: node --import ./scripts/from-source.mjs scripts/pictures.ts
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { findFfmpeg } from '../examples/hdhomerun/index.ts';
import { PublisherProcess, Viewer } from '../test/publisher/support.ts';
import { launchBrowser, type View } from '../test/support/browser.ts';
import { eventually } from '../test/support/eventually.ts';

interface Picture extends View {
  readonly name: string;
  readonly view: '' | '#system' | '#events';
  /** What is done before it is taken. */
  readonly act?: (page: Page) => Promise<unknown>;
}

const play = async (page: Page): Promise<void> => {
  await page.getByRole('button', { name: 'Play Harbour News' }).click();
  await page.getByRole('region', { name: 'Harbour News' }).getByText('buffered').waitFor();
};

const PICTURES: readonly Picture[] = [
  { name: 'dashboard-light', width: 1280, height: 800, colorScheme: 'light', view: '', act: play },
  { name: 'dashboard-dark', width: 1280, height: 800, colorScheme: 'dark', view: '', act: play },
  { name: 'dashboard-phone', width: 390, height: 844, colorScheme: 'dark', view: '', act: play },
  {
    ...{ name: 'dashboard-details', width: 1280, height: 800, colorScheme: 'light', view: '' },
    act: (page) => page.getByRole('button', { name: 'Details of Rooftop camera' }).click(),
  },
];

const CAMERA = 'camera={"name":"Rooftop camera","number":"12"}';

/** With a palette a picture has a third of the size, and looks the same. */
const fewerColours = (picture: string): string[] => [
  ...['-v', 'error', '-y', '-i', picture, '-vf'],
  'split[a][b];[a]palettegen=max_colors=200[p];[b][p]paletteuse=dither=none',
];

const folder = new URL('../docs/pictures/', import.meta.url).pathname;
const scratch = mkdtempSync(join(tmpdir(), 'holdfast-pictures-'));
mkdirSync(folder, { recursive: true });
try {
  const camera = ['--source', 'camera=http://127.0.0.1:1/camera.ts', '--channel', CAMERA];
  const places = ['--lock-dir', scratch, '--state-dir', scratch, '--discovery', 'off'];
  await using publisher = await PublisherProcess.start(['--demo', ...camera, ...places]);
  await using chromium = await launchBrowser();
  using viewer = await Viewer.open(`${publisher.url}/channels/7.1.ts`);
  await viewer.more();
  await fetch(`${publisher.url}/channels/camera.ts`);
  for (const { name, view, act, ...how } of PICTURES) {
    const { page, close } = await chromium.open(`${publisher.url}/${view}`, how);
    await page.locator('#connection').getByText('Live').waitFor();
    await act?.(page);
    await eventually(async () => {
      await page.evaluate('scrollTo(0, 0)');
      const isMissing = await page.evaluate(`[...document.querySelectorAll('.card[data-state=live]')]
        .some((card) => card.getBoundingClientRect().top < innerHeight && card.querySelector('img').hidden)`);
      if (isMissing) throw new Error('a preview is not shown yet');
    }, 20_000).catch((error) => console.warn(String(error)));
    await page.screenshot({ path: join(scratch, `${name}.png`) });
    execFileSync(findFfmpeg(), [...fewerColours(join(scratch, `${name}.png`)), join(folder, `${name}.png`)]);
    await close();
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
