import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, normalize, relative } from 'node:path';
import { expect, test } from 'vitest';

const repository = new URL('../../', import.meta.url).pathname;

/** The floor of each room of src; imports go strictly down, or stay within the room. */
const floors: Record<string, number> = {
  errors: 0,
  internal: 0,
  'source-lock': 1,
  'managed-child': 1,
  'fanout-hub': 1,
  'circuit-breaker': 1,
  'token-bucket': 1,
  'process-pool': 2,
  supervisor: 2,
  prometheus: 3,
  cli: 4,
  index: 5,
};

interface Import {
  readonly from: string;
  readonly to: string;
  /** Erased: it makes no circle when the program runs. */
  readonly isType: boolean;
}

function filesIn(folder: string, ending = '.ts'): string[] {
  const names = readdirSync(join(repository, folder), { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith(ending) && !name.includes('node_modules'))
    .map((name) => join(folder, name));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(repository, file), 'utf8');
  const specifiers = text.matchAll(
    /^(?:import|export)\s[^'";]*?from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\('([^']+)'\)/gm,
  );
  return [...specifiers].map(([all, from, bare, dynamic]) => ({
    from: file,
    to: (from ?? bare ?? dynamic) as string,
    isType: /^(import|export) type/.test(all),
  }));
}

/** `src/fanout-hub/slicer.ts` is in the room fanout-hub; `src/errors.ts` is a room of its own. */
function roomOf(file: string): string {
  return relative('src', file).split('/')[0]?.replace(/\.ts$/, '') as string;
}

const inside = filesIn('src').flatMap((file) =>
  importsOf(file)
    .filter(({ to }) => to.startsWith('.'))
    .map((each) => ({ ...each, to: normalize(join(dirname(each.from), each.to)) })),
);

test('every room of src has a floor', () => {
  expect([...new Set(filesIn('src').map(roomOf))].sort()).toEqual(Object.keys(floors).sort());
});

test('imports go down or stay within the room, never up and never sideways', () => {
  const drawing = [...new Set(inside.map(({ from, to }) => `${roomOf(from)} -> ${roomOf(to)}`))].sort();
  const ground = (room: string) => floors[room] === 0;
  const wrong = inside.filter(({ from, to }) => {
    const [above, below] = [roomOf(from), roomOf(to)];
    if (above === below || (above === 'internal' && ground(below))) return false;
    return (floors[below] ?? 99) >= (floors[above] ?? -1);
  });
  expect(wrong, drawing.join('\n')).toEqual([]);
});

test('no room of src imports in a circle', () => {
  const below = Map.groupBy(inside, ({ from }) => from);
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    const circle = (below.get(file) ?? [])
      .filter(({ isType }) => !isType)
      .map(({ to }) => visit(to, [...path, file]))
      .find((found) => found.length > 0);
    done.add(file);
    return circle ?? [];
  };
  for (const file of filesIn('src')) expect(visit(file, [])).toEqual([]);
});

test('only internal/time.ts touches clocks and timers', () => {
  const clocks =
    /\b(setTimeout|setInterval|setImmediate|performance\.now|Date\.now|hrtime\.bigint)\(|node:timers|AbortSignal\.timeout/;
  const users = filesIn('src').filter((file) => clocks.test(withoutComments(file)));
  // The last has texts of programs that other processes run.
  expect(users).toEqual(['src/internal/time.ts', 'src/managed-child/node-program.ts']);
});

test('what the library imports from outside is a dependency of its own', () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
  const outside = filesIn('src')
    .flatMap(importsOf)
    .filter(({ to }) => !to.startsWith('.') && !to.startsWith('node:'));
  const typesOnly = ['typed-emitter'];
  const unknown = outside.filter(
    ({ to }) => !(to in dependencies) && !(typesOnly.includes(to) && to in devDependencies),
  );
  expect(unknown).toEqual([]);
  expect(outside.filter(({ to }) => builtinModules.includes(to))).toEqual([]);
});

test('the examples use the public names only', () => {
  const wrong = filesIn('examples')
    .flatMap(importsOf)
    .filter(({ to }) => /(^|\/)src\//.test(to) || (/^holdfast\//.test(to) && to !== 'holdfast/prometheus'));
  expect(wrong).toEqual([]);
});

test('no file is longer than 350 lines', () => {
  const long = [...filesIn('src'), ...filesIn('examples')]
    .map((file) => ({ file, lines: readFileSync(join(repository, file), 'utf8').split('\n').length }))
    .filter(({ lines }) => lines > 350);
  expect(long).toEqual([]);
});

function withoutComments(file: string): string {
  return readFileSync(join(repository, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
}
