import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ManagedChild, SourceLock } from 'holdfast';

/** The part of a core that waiting for a held lock takes, more than an idle process does; with the programs it starts. */
export async function waitingCost(backend: 'kernel' | 'flock', seconds: number): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-waiting-'));
  try {
    await using _held = await SourceLock.acquire('hdhomerun:1234ABC2/held', { dir, backend });
    const [waiting, idle] = await Promise.all([cpuMs(dir, backend, seconds), cpuMs(dir, 'idle', seconds)]);
    return (waiting - idle) / (seconds * 1000);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function cpuMs(dir: string, what: string, seconds: number): Promise<number> {
  const hook = new URL('../../scripts/from-source.mjs', import.meta.url).pathname;
  const program = new URL('./waiter.ts', import.meta.url).pathname;
  const args = ['--import', hook, program, dir, what, String(seconds * 1000)];
  const child = await ManagedChild.spawn(process.execPath, args, { stderr: 'inherit' });
  return Number(await text(child.stdout as NodeJS.ReadableStream));
}
