// Owns a tree as the users of a peer do, and ends in the manner it is told.
import { openSync } from 'node:fs';
import { treeEnvironment } from './cells.ts';
import type { Ending } from './endings.ts';
import { peers } from './peers.ts';
import { trees } from './trees.ts';

const [peer = '', tree = '', output = ''] = process.argv.slice(2);
const abort = new AbortController();
const start = await peers[peer]?.load();
const child = await start?.({
  command: 'sh',
  args: ['-c', trees[tree]?.script ?? ''],
  env: { ...process.env, ...treeEnvironment },
  stdout: openSync(output, 'a'),
  signal: abort.signal,
});

const endings: Record<NonNullable<Ending['does']>, () => void> = {
  'normal end': () => {
    process.stdin.destroy();
    child?.unref();
  },
  'process.exit()': () => process.exit(0),
  throw: () => {
    throw new Error('on purpose');
  },
  block: () => {
    console.log('blocked');
    for (const end = performance.now() + 30_000; performance.now() < end; );
  },
  abort: () => abort.abort(),
};

process.stdin.once('data', (does) => endings[String(does) as keyof typeof endings]());
process.stdin.once('end', () => process.exit(1)); // the bench is gone
console.log('started');
