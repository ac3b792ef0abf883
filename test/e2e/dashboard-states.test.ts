import { join } from 'node:path';
import type { Page } from 'playwright-core';
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

  test('previews are asked for at every tick at first, and seldom where none ever comes', async () => {
    const radio = { ...SOME_CHANNEL, state: 'live', preview: '/channels/x/preview.jpg' };
    const view = answering({ channels: [radio] });
    let asked = 0;
    const { page } = await stage.open({
      prepare: async (it) => {
        await view.prepare?.(it);
        await it.clock.install();
        await it.route('**/preview.jpg', (route) => {
          asked += 1;
          return route.fulfill({ status: 204 });
        });
      },
    });
    await cardOf(page, 'X').waitFor();
    await page.clock.pauseAt(Date.now() + 60_000);
    const tick = async () => {
      await page.clock.fastForward(1_000);
      await page.evaluate("fetch('/healthz')"); // by then it was answered
    };
    for (let ticks = 0; ticks < 30 && asked < 10; ticks += 1) await tick();
    expect(asked).toBe(10);
    for (let ticks = 0; ticks < 25; ticks += 1) await tick();
    expect([2, 3]).toContain(asked - 10);
  });
});
