/**
 * Who survives the end of its owner: trees of processes × endings, for holdfast beside its peers, in one run.
 *
 *   npm run bench:survivors -- [--only holdfast] [--repeat 1]
 *
 * `--only` may be given several times; the results are kept of a run of all. The exit code is 1 if a tree of holdfast's survived, or if a cell could not be run.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { keep } from './compare.ts';
import { Cells } from './survivors/cells.ts';
import { endings } from './survivors/endings.ts';
import { isOurs, peers, peersHere } from './survivors/peers.ts';
import { type Case, LIMIT_MS, type Outcome, runCell } from './survivors/run-cell.ts';
import { trees } from './survivors/trees.ts';

/** They wait most of the time. */
const AT_ONCE = 8;

const { only, repeat } = readArguments();
const here = await peersHere();
for (const name of only.filter((name) => !here.includes(name))) console.log(`not run: ${name}: no cgroup can be made`);
const chosen = here.filter((name) => only.length === 0 || only.includes(name));

const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
await using cells = new Cells();
cells.endOnSignals();

const waiting = Array.from({ length: repeat }, everyCell).flat();
const all = waiting.length;
const outcomes: Outcome[] = [];
const failures: (Case & { readonly error: string })[] = [];
const begin = performance.now();
await Promise.all(Array.from({ length: AT_ONCE }, work));
const seconds = Math.round((performance.now() - begin) / 1000);

console.log(
  `\nCells with survivors ${LIMIT_MS / 1000} s after the end of their owner (${cells.groundTruth}; ${seconds} s)\n`,
);
printTable();
for (const peer of chosen) printEndings(peer);
for (const { peer, tree, ending, error } of failures) console.log(`not run: ${peer}, ${tree}, ${ending}: ${error}`);
if (only.length === 0)
  keep('Survivors', { limitMs: LIMIT_MS, groundTruth: cells.groundTruth, repeat, outcomes, failures });
if (failures.length > 0 || outcomes.some(({ peer, survivors }) => isOurs(peer) && survivors.length > 0)) {
  process.exitCode = 1;
}

function readArguments(): { only: readonly string[]; repeat: number } {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', multiple: true, default: [] },
        repeat: { type: 'string', default: '1' },
      },
    });
    for (const name of values.only) {
      if (!(name in peers))
        throw new TypeError(`--only must be one of ${Object.keys(peers).join(' | ')}, received ${name}`);
    }
    if (!/^[1-9]\d?$/.test(values.repeat)) {
      throw new RangeError(`--repeat must be a whole number from 1 to 99, received ${values.repeat}`);
    }
    return { only: values.only, repeat: Number(values.repeat) };
  } catch (error) {
    console.error((error as Error).message);
    process.exit(2);
  }
}

/** Peers next to each other, so that what else the machine does falls on all of them. */
function everyCell(): Case[] {
  return Object.keys(endings).flatMap((ending) =>
    Object.keys(trees).flatMap((tree) => chosen.map((peer) => ({ peer, tree, ending }))),
  );
}

async function work(): Promise<void> {
  for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
    try {
      outcomes.push(await runCell(cells, folder, cell));
    } catch (error) {
      failures.push({ ...cell, error: String(error) });
    }
    if (process.stderr.isTTY) process.stderr.write(`\r${outcomes.length} of ${all} cells`);
  }
}

function survived(where: Partial<Case>): Outcome[] {
  return outcomes.filter(({ survivors, ...cell }) => survivors.length > 0 && matches(cell, where));
}

function matches(cell: Case, where: Partial<Case>): boolean {
  return Object.entries(where).every(([key, value]) => cell[key as keyof Case] === value);
}

/** With how many cells it is of. */
function share(where: Partial<Case>): string {
  return `${survived(where).length}/${outcomes.filter((cell) => matches(cell, where)).length}`;
}

function printTable(): void {
  const names = Object.keys(trees);
  const rows = [
    ['', ...names, 'all'],
    ...chosen.map((peer) => [peer, ...names.map((tree) => share({ peer, tree })), share({ peer })]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows) {
    console.log(
      row
        .map((text, column) => (column ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[0] ?? 0)))
        .join('   '),
    );
  }
}

function printEndings(peer: string): void {
  const counts = Object.keys(endings)
    .filter((ending) => survived({ peer, ending }).length > 0)
    .map((ending) => `${ending} ${share({ peer, ending })}`);
  console.log(`\n${peer} leaves survivors after: ${counts.join(', ') || 'none'}`);
  const owners = survived({ peer }).filter(({ survivors }) => survivors.some(({ is }) => is === 'owner')).length;
  if (owners > 0) console.log(`  the owner itself survived in ${owners}`);
}
