import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { FileGuide } from '../../examples/publisher/guide/file-guide.ts';
import { Guide } from '../../examples/publisher/guide/guide.ts';
import { matchChannels } from '../../examples/publisher/guide/guide-match.ts';
import { idOf, type PullTimes } from '../../examples/publisher/guide/guide-pull.ts';
import type { GuideSource, Pulled } from '../../examples/publisher/guide/guide-source.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { guideOf, subject } from './guide-support.ts';

let dir: string;
let said: string[];
/** How many were begun. */
let merges = 0;

beforeEach(() => {
  dir = temporaryDirectory();
  said = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((line) => said.push(JSON.parse(String(line)).msg) > 0);
});

function open(times: PullTimes = {}): Guide {
  const subjects = () => {
    merges += 1;
    return [subject('a')];
  };
  const guide = new Guide({ dir, log: createLog('json'), subjects, times: { settleMs: 20, ...times } });
  onTestFinished(() => guide[Symbol.asyncDispose]());
  return guide;
}

/** One that gives the same text at each pull, all at once. */
function given(text: string, key = 'given'): GuideSource {
  return {
    ...{ name: key, key, nextPullMs: () => 3_600_000 },
    pull: async () => ({
      bytes: (async function* () {
        yield Buffer.from(text);
      })(),
    }),
  };
}

const large = (): string => guideOf({ a: { from: 0, count: 40_000 } });

describe('a guide', () => {
  it('does not count its own work as silence of the source', async () => {
    const guide = open({ stallTimeoutMs: 1 });
    await guide.start([given(large())]);
    await eventually(
      () => expect(said.join('\n')).toMatch(/given: 40000 programmes of 1 channels|nothing came/),
      30_000,
    );
    expect(said.join('\n')).not.toContain('nothing came');
  });

  it('is closed at once while it is made', async () => {
    const guide = open();
    await guide.start([given(large())]);
    await eventually(() => expect(said.join('\n')).toContain('40000 programmes of 1 channels'), 30_000);
    const before = merges;
    await eventually(() => expect(merges).toBeGreaterThan(before));
    const begun = performance.now();
    await guide[Symbol.asyncDispose]();
    expect(performance.now() - begun).toBeLessThan(promisedMs(150));
    expect(guide.state.programmes).toBe(0);
  });
});

async function read(pulled: Pulled | undefined): Promise<void> {
  let length = 0;
  for await (const chunk of pulled?.bytes ?? []) length += chunk.length;
  expect(length).toBeGreaterThan(0);
}

describe('a guide in a file', () => {
  it('may be given up while it is opened', async () => {
    const file = join(dir, 'file.xml');
    await writeFile(file, guideOf({ a: { from: 0, count: 1 } }));
    const guide = new FileGuide(file);
    const aborted = guide.pull({}, AbortSignal.abort(new Error('given up')));
    await expect(aborted).rejects.toThrow('given up');
    await read(await guide.pull({}, new AbortController().signal));
  });

  it('is refused if it is none, and then stops nothing', async () => {
    const file = join(dir, 'fifo');
    execFileSync('mkfifo', [file]);
    const guide = new FileGuide(file);
    for (let count = 0; count < 5; count++) {
      const pulled = Promise.race([guide.pull({}, new AbortController().signal), sleep(500, 'it hangs')]);
      await expect(pulled).rejects.toThrow(/is no file/);
    }
    expect(await Promise.race([stat('/').then(() => 'works'), sleep(500, 'hangs')])).toBe('works');
  });

  it('is not read again while the system has not answered', async () => {
    const file = join(dir, 'file.xml');
    await writeFile(file, guideOf({ a: { from: 0, count: 1 } }));
    const guide = new FileGuide(file);
    const first = guide.pull({}, new AbortController().signal);
    await expect(guide.pull({}, new AbortController().signal)).rejects.toThrow(/has not answered/);
    await read(await first);
    await eventually(async () => read(await guide.pull({}, new AbortController().signal)));
  });
});

it('others have turns while channels are found in a guide of very many', async () => {
  const channels = Array.from({ length: 5_000 }, (_, count) => ({ id: `${count}.example`, names: [`Name ${count}`] }));
  let turns = 0;
  const count = () => {
    turns += 1;
    next = setImmediate(count);
  };
  let next = setImmediate(count);
  const found = await matchChannels([subject('x', { name: 'name 4999' })], channels);
  clearImmediate(next);
  expect([found.get('x'), turns]).toEqual(['4999.example', 25]);
  const aborted = matchChannels([], channels, AbortSignal.abort(new Error('no longer wanted')));
  await expect(aborted).rejects.toThrow('no longer wanted');
});

it('a long name in a guide costs no time', async () => {
  const name = `a${'-'.repeat(60_000)}b`;
  const begun = performance.now();
  await matchChannels([subject('x', { name })], [{ id: 'y', names: [name, `1${' '.repeat(60_000)}\nx\ny`] }]);
  expect(performance.now() - begun).toBeLessThan(promisedMs(200));
});

describe('the document', () => {
  it('that was kept is given at once, however long it takes to read what was kept of the sources', async () => {
    const before = open();
    await before.start([given(large())]);
    await eventually(() => expect(before.nowAndNext('a').now).toBeDefined(), 30_000);
    const { hash } = await before.document();
    await before[Symbol.asyncDispose]();
    const after = open();
    const started = after.start([given(large())]);
    const begun = performance.now();
    expect((await after.document()).hash).toBe(hash);
    expect(performance.now() - begun).toBeLessThan(promisedMs(150));
    await started;
  });

  it('is an error, and nothing worse, if there is none and never will be', async () => {
    const guide = open();
    const asked = expect(guide.document()).rejects.toThrow('the guide is not made yet');
    await guide[Symbol.asyncDispose]();
    await asked;
  });
});

it('what was kept of a source that is gone is removed, and so is what a dead writer left', async () => {
  const small = guideOf({ a: { from: 0, count: 1 } });
  const left = join(dir, 'guide.xml.gz.999999999.tmp');
  await writeFile(left, 'half');
  await writeFile(join(dir, 'another.xml'), small);
  const kept = () => readdirSync(dir).filter((name) => /^[0-9a-f]{16}\.xml\.gz$/.test(name));
  const guide = open();
  await guide.start([given(small, 'one'), given(small, 'two')]);
  await eventually(() => expect(kept()).toHaveLength(2));
  expect(existsSync(left)).toBe(false);
  const [first, second] = [given(small, 'one'), given(small, 'three')];
  await guide.setSources([first, second]);
  await eventually(() => expect(kept()).toHaveLength(2));
  expect(kept().sort()).toEqual([first, second].map((source) => `${idOf(source)}.xml.gz`).sort());
  await guide[Symbol.asyncDispose]();
  await open().start([second]);
  expect(kept()).toEqual([`${idOf(second)}.xml.gz`]);
  expect(readdirSync(dir)).toContain('another.xml');
});

it('a time of the next pull that a wrong clock wrote is not waited for', async () => {
  const small = guideOf({ a: { from: 0, count: 1 } });
  let pulls = 0;
  const source = (nextPullMs: number): GuideSource => ({
    ...given(small),
    nextPullMs: () => nextPullMs,
    pull: async (...asked) => {
      pulls += 1;
      return await given(small).pull(...asked);
    },
  });
  const before = open();
  await before.start([source(1e12)]);
  await eventually(() => expect(readdirSync(dir)).toContain('pulls.json'));
  await before[Symbol.asyncDispose]();
  await open().start([source(50)]);
  await eventually(() => expect(pulls).toBeGreaterThan(1));
});
