import { readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest';
import { launchBrowser, type TestBrowser, type View, type WatchedPage } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { type Program, processesWithMark, startProgram } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** An answer of the API, as far as a test looks at it. */
// biome-ignore lint/suspicious/noExplicitAny: the tests judge what the program answers
export type Json = any;

const FIRST_PICTURE_MS = patienceMs(20_000);

/** A publisher and a browser for all tests of a file. */
export class Stage {
  readonly lockDir: string = temporaryDirectory(afterAll);
  url = '';
  #chromium: TestBrowser | undefined;
  #publisher: Program | undefined;
  readonly #mark: string;
  readonly #args: readonly string[];

  /** Call it outside of the tests. @param name tells the processes of this file apart */
  constructor(name: string, args: readonly string[]) {
    this.#mark = `HOLDFAST_TEST_MARK=${name}-${process.pid}`;
    this.#args = ['--discovery', 'off', '--lock-dir', this.lockDir, '--state-dir', this.lockDir, ...args];
    beforeAll(async () => {
      await this.startPublisher(0);
      this.#chromium = await launchBrowser();
    }, patienceMs(60_000));
    afterAll(async () => {
      await this.#chromium?.[Symbol.asyncDispose]();
      await this.stopPublisher();
      rmSync(this.lockDir, { recursive: true, force: true });
      await eventually(() => expect(processesWithMark(this.#mark)).toEqual([]));
    });
  }

  get pid(): number {
    return this.#publisher?.pid as number;
  }

  async startPublisher(port: number): Promise<void> {
    const [name = '', value] = this.#mark.split('=');
    const args = ['--port', String(port), ...this.#args];
    this.#publisher = startProgram('examples/publisher/main.ts', { [name]: value }, args);
    const output = await this.#publisher.says(/(watch: |no channel is known yet)/);
    this.url = /dashboard: (http:\S+)/.exec(output)?.[1] as string;
  }

  async stopPublisher(): Promise<void> {
    await this.#publisher?.kill('SIGTERM');
    expect(await this.#publisher?.exit, this.#publisher?.output()).toBe(0);
  }

  async open(view?: View): Promise<WatchedPage> {
    const watched = await (this.#chromium as TestBrowser).open(this.url, view);
    onTestFinished(() => watched.close());
    return watched;
  }

  async read(path: string): Promise<Json> {
    return (await fetch(new URL(path, this.url))).json();
  }

  async channel(name: string): Promise<Json> {
    const { channels } = await this.read('/api/channels');
    return channels.find((it: Json) => it.name === name);
  }

  async tunersInUse(): Promise<number> {
    const { devices } = await this.read('/api/tuners');
    return devices.flatMap(({ tuners }: Json) => tuners).filter(({ inUse }: Json) => inUse).length;
  }
}

export const cardOf = (page: Page, name: string): Locator =>
  page
    .locator('#cards')
    .getByRole('listitem')
    .filter({ has: page.getByRole('heading', { name: new RegExp(name) }) });

export const play = (page: Page, name: string): Promise<void> =>
  page.getByRole('button', { name: `Play ${name}` }).click();

const secondsPlayed = (page: Page): Promise<number> => page.evaluate("document.querySelector('video').currentTime");

export async function untilItPlays(page: Page, seconds: number): Promise<void> {
  await eventually(async () => {
    const shown = await page.locator('#player').innerText();
    expect(await secondsPlayed(page), `seconds played; the player says: ${shown}`).toBeGreaterThan(seconds);
  }, FIRST_PICTURE_MS);
}

/** The brightness of 64 by 36 points of a picture: of the player, or another. */
export const pictureOf = (page: Page, selector = 'video'): Promise<number[]> =>
  page.evaluate(`(() => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [64, 36];
    const context = canvas.getContext('2d');
    context.drawImage(document.querySelector(${JSON.stringify(selector)}), 0, 0, 64, 36);
    const { data } = context.getImageData(0, 0, 64, 36);
    return Array.from({ length: 64 * 36 }, (_, at) => data[at * 4] + data[at * 4 + 1] + data[at * 4 + 2]);
  })()`);

/** Waits until pictures came that differ, by what the browser counts and by what is to be seen. */
export async function untilThePictureMoves(page: Page): Promise<void> {
  const shown = () =>
    page.evaluate<number>("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames");
  await untilItPlays(page, 0.5);
  const [before, framesBefore, playedBefore] = [await pictureOf(page), await shown(), await secondsPlayed(page)];
  await untilItPlays(page, playedBefore + 1);
  const after = await pictureOf(page);
  expect(Math.max(...before) - Math.min(...before), 'contrast in the picture').toBeGreaterThan(100);
  const moved = before.filter((point, at) => Math.abs(point - (after[at] as number)) > 30);
  expect(moved.length, 'points that moved').toBeGreaterThan(5);
  expect((await shown()) - framesBefore, 'frames').toBeGreaterThan(5);
}

/** Answers as a publisher does that has no more than what is given, and no events: the page asks instead. */
export function answering(...overviews: readonly object[]): View {
  const nothing = { tuners: [], locks: [], orphans: [], pushes: [], events: [], missed: 0, channels: [] };
  const publisher = { version: '1.2.3', startedAt: new Date(0), demo: false, unready: [], operable: true };
  return {
    prepare: async (page) => {
      await page.route('**/api/events*', (route) => route.fulfill({ status: 204 }));
      let next = 0;
      await page.route('**/api/overview*', (route) => {
        const now = new Date(next * 1_000).toISOString();
        const overview = overviews[Math.min(next++, overviews.length - 1)];
        return route.fulfill({ json: { now, ...nothing, publisher, ...overview } });
      });
    },
  };
}

/** A channel that nobody watches, as the API tells of it. */
export const SOME_CHANNEL: Json = {
  ...{ id: 'x', name: 'X', number: '1.1', url: '/channels/x.ts', state: 'idle', viewers: 0, bytesIn: 0, bytesOut: 0 },
  ...{ liveSince: null, source: 'http://tuner/auto/v1.1', available: true, holder: null, lastError: null },
  ...{ refusal: null, favorite: false, hd: false, openings: 0, failures: 0 },
};

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe-core finds wrong with what is shown now, of all or of its colours alone. */
export async function violations(page: Page, what: 'all' | 'colours'): Promise<string[]> {
  // Not as a script element: the page forbids those.
  if (await page.evaluate('window.axe === undefined')) await page.evaluate(AXE);
  const rules = what === 'colours' ? "runOnly: ['cat.color'], " : '';
  return page.evaluate(`axe.run(document, { ${rules}resultTypes: ['violations'] }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) =>
      id + ': ' + html.slice(0, 160) + ' ' + failureSummary)))`);
}

export const PAINTED = 'new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))';

/** The cumulative layout shift since the page was opened, and what moved. */
export async function shiftsOf(page: Page): Promise<{ shift: number; moved: string[] }> {
  return page.evaluate(`new Promise((resolve) => {
    const found = { shift: 0, moved: [] };
    new PerformanceObserver((list) => {
      for (const it of list.getEntries().filter(({ hadRecentInput }) => !hadRecentInput)) {
        found.shift += it.value;
        for (const { node } of it.sources) found.moved.push(node?.id || node?.className || node?.nodeName || 'what is gone');
      }
    }).observe({ type: 'layout-shift', buffered: true });
    ${PAINTED}.then(() => resolve(found));
  })`);
}
