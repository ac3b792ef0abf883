// Many processes, few sources, random SIGKILLs: nobody may hold what another holds, and every refusal names a holder.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ManagedChild } from 'holdfast';

interface StormOptions {
  readonly processes: number;
  readonly seconds: number;
  /** false is the control: without the lock the referee must see double holding. */
  readonly locked: boolean;
}

interface StormResult {
  acquired: number;
  refused: number;
  /** Refusals that named a process which was never part of the storm. */
  wrong: number;
  unnamed: number;
  reclaimed: number;
  double: number;
  kills: number;
}

export async function lockStorm({ processes, seconds, locked }: StormOptions): Promise<StormResult> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-storm-'));
  const result: StormResult = { acquired: 0, refused: 0, wrong: 0, unnamed: 0, reclaimed: 0, double: 0, kills: 0 };
  const pids = new Set<number>();
  const hook = new URL('../../scripts/from-source.mjs', import.meta.url).pathname;
  const program = new URL('storm-process.ts', import.meta.url).pathname;

  const start = async (): Promise<ManagedChild> => {
    const args = ['--import', hook, program, dir, '4', locked ? 'on' : 'off'];
    const child = await ManagedChild.spawn(process.execPath, args, { graceMs: 0, stderr: 'inherit' });
    pids.add(child.pid);
    createInterface(child.stdout as NodeJS.ReadableStream).on('line', (line) => count(line));
    return child;
  };
  const count = (line: string) => {
    const [what = '', detail] = line.split(' ');
    if (what === 'refused' && !pids.has(Number(detail))) result.wrong += 1;
    if (what in result) result[what as keyof StormResult] += 1;
  };

  try {
    const children = await Promise.all(Array.from({ length: processes }, start));
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 150 + Math.random() * 150));
      const victim = Math.floor(Math.random() * children.length);
      await children[victim]?.terminate();
      children[victim] = await start();
      result.kills += 1;
    }
    await Promise.all(children.map((child) => child.terminate()));
    return result;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
