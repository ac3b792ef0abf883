// Side by side in one run, interleaved: what the primitives cost over what they are made of.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManagedChild, SourceLock } from 'holdfast';
import { compare } from './compare.ts';
import { exit, flock, locks } from './locks.ts';
import { mainPath } from './main-path.ts';
import { peersHere } from './survivors/peers.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));

const inCgroup = (await peersHere()).includes('holdfast + cgroup') ? (['cgroup'] as const) : [];
const ways = (['group', ...inCgroup] as const).map((containment) => ({
  containment,
  name: containment === 'group' ? '' : ' in a cgroup',
}));

try {
  await compare({
    title: 'Lock a source around a command',
    calls: 20,
    candidates: [
      ...ways.map(({ containment, name }) => ({
        name: `SourceLock and ManagedChild${name} that holds it`,
        run: async () => {
          const holds = await SourceLock.acquire('hdhomerun:1234ABC2/v5.1', { dir });
          await (await ManagedChild.spawn('true', [], { holds, containment })).closed;
          await holds.release();
        },
      })),
      { name: 'flock(1)', run: () => exit(flock(['-n', join(dir, 'plain'), 'true'])) },
    ],
  });
  await compare({
    title: 'Spawn a program and wait for its end',
    calls: 30,
    candidates: [
      ...ways.map(({ containment, name }) => ({
        name: `ManagedChild${name}`,
        run: async () => (await ManagedChild.spawn('true', [], { stderr: 'ignore', containment })).closed,
      })),
      { name: 'child_process', run: () => once(spawn('true', { stdio: ['ignore', 'pipe', 'ignore'] }), 'close') },
    ],
  });
} finally {
  rmSync(dir, { recursive: true, force: true });
}

await locks();
await mainPath();
