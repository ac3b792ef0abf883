import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cells, Member, Owner } from './cells.ts';
import { type Ending, endings } from './endings.ts';
import { trees } from './trees.ts';

/** From the ending of the owner to the count of what is left. */
export const LIMIT_MS = 2_000;

/** Long, for other things may keep the machine busy; it is part of nothing that is measured. */
const START_LIMIT_MS = 30_000;

export interface Case {
  readonly peer: string;
  readonly tree: string;
  readonly ending: string;
}

export interface Outcome extends Case {
  /** Empty if nothing survived. */
  readonly survivors: readonly Survivor[];
  /** The time after which nothing was left, where the owner was to go too. */
  readonly goneMs?: number;
}

type Survivor = Omit<Member, 'isTree'> & { readonly is: 'tree' | 'owner' | 'helper' };

/** Has an owner start its tree, ends it, and looks what is left. */
export async function runCell(cells: Cells, folder: string, { peer, tree, ending }: Case): Promise<Outcome> {
  await using cell = cells.add();
  const output = join(folder, cell.id);
  const owner = cell.spawnProgram(new URL('owner.ts', import.meta.url), [peer, tree, output]);
  const lines = createInterface(owner.stdout)[Symbol.asyncIterator]();
  let complaint = '';
  owner.stderr.on('data', (chunk) => {
    complaint += chunk;
  });
  const { value } = await lines.next();
  if (value !== 'started') throw new Error(`the owner did not start: ${complaint}`);
  await stands(output, trees[tree]?.lines ?? 0);

  const how = endings[ending] as Ending;
  await end(owner, how, lines);
  const before = performance.now();
  while (performance.now() - before < LIMIT_MS && !cell.isEmpty()) await sleep(10);
  const elapsedMs = performance.now() - before;
  const members = await cell.members();
  const survivors = members
    .map(({ isTree, ...member }) => ({
      ...member,
      is: isTree ? 'tree' : member.pid === owner.pid ? 'owner' : 'helper',
    }))
    // An owner that was not to end has its helpers.
    .filter(({ is }) => how.does !== 'abort' || is === 'tree') as Survivor[];
  return { peer, tree, ending, survivors, ...(members.length === 0 && { goneMs: Math.round(elapsedMs) }) };
}

async function stands(output: string, lines: number): Promise<void> {
  for (const deadline = performance.now() + START_LIMIT_MS; performance.now() < deadline; await sleep(5)) {
    if (readFileSync(output, 'utf8').split('\n').length > lines) return;
  }
  throw new Error(`the tree did not stand after ${START_LIMIT_MS} ms`);
}

async function end(owner: Owner, { does, signal }: Ending, lines: AsyncIterator<string>): Promise<void> {
  if (does) owner.stdin.write(does);
  if (does === 'block') await lines.next();
  if (signal) owner.kill(signal);
}
