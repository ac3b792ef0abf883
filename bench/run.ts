// Side by side in one run, interleaved: what the primitives cost over what they are made of.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import addon from 'fs-native-extensions';
import { ManagedChild, SourceLock } from 'holdfast';
import { compare } from './compare.ts';
import { mainPath } from './main-path.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
const source = 'hdhomerun:1234ABC2/v5.1';
const file = join(dir, 'plain');

async function flock1(): Promise<void> {
  await once(spawn('flock', ['-n', file, 'true'], { stdio: 'ignore' }), 'exit');
}

try {
  await compare({
    title: 'Acquire and release a free source',
    calls: 300,
    candidates: [
      { name: 'SourceLock', run: async () => (await SourceLock.acquire(source, { dir })).release() },
      {
        name: 'fs-native-extensions bare, holder unnamed',
        run: () => {
          const descriptor = openSync(file, 'a+');
          addon.tryLock(descriptor);
          addon.unlock(descriptor);
          closeSync(descriptor);
        },
      },
    ],
  });
  await compare({
    title: 'Lock a source around a command',
    calls: 20,
    candidates: [
      {
        name: 'SourceLock and ManagedChild that holds it',
        run: async () => {
          const holds = await SourceLock.acquire(source, { dir });
          await (await ManagedChild.spawn('true', [], { holds })).closed;
          await holds.release();
        },
      },
      { name: 'flock(1)', run: flock1 },
    ],
  });
  const held = await SourceLock.acquire(source, { dir });
  await compare({
    title: 'Be refused and learn who holds it',
    calls: 300,
    candidates: [
      { name: 'SourceLock', run: () => SourceLock.tryAcquire(source, { dir }) },
      {
        name: 'fs-native-extensions bare, holder unnamed',
        run: () => {
          const descriptor = openSync(held.path, 'a+');
          addon.tryLock(descriptor);
          closeSync(descriptor);
        },
      },
    ],
  });
  await held.release();
  await compare({
    title: 'Spawn a program and wait for its end',
    calls: 30,
    candidates: [
      { name: 'ManagedChild', run: async () => (await ManagedChild.spawn('true', [], { stderr: 'ignore' })).closed },
      { name: 'child_process', run: () => once(spawn('true', { stdio: ['ignore', 'pipe', 'ignore'] }), 'close') },
    ],
  });
} finally {
  rmSync(dir, { recursive: true, force: true });
}

await mainPath();
