import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { maxLoad, minFreeFds, minFreeMemory } from 'holdfast';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { hasNamespaces, withMounts } from '../support/namespace.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const HOOK = new URL('../../scripts/from-source.mjs', import.meta.url).pathname;
const MIB = 2 ** 20;

/** What a check finds in a process that a wrapper starts. */
function found(check: string, wrapper: readonly string[]): string | undefined {
  const program = `import { maxLoad, minFreeFds, minFreeMemory } from 'holdfast'; console.log((${check})() ?? '')`;
  const command = [...wrapper, process.execPath, '--import', HOOK, '--input-type=module', '-e', program];
  return execFileSync(command[0] as string, command.slice(1), { encoding: 'utf8' }).trim() || undefined;
}

/** Files that a process finds in the place of the kernel's; `$$` in a path is its pid. */
function withFiles(files: Record<string, string>): string[] {
  const directory = temporaryDirectory();
  const mounts = Object.entries(files).map(([path, content], index) => {
    writeFileSync(join(directory, String(index)), content);
    return `mount --bind ${join(directory, String(index))} ${path}`;
  });
  return withMounts(mounts.join('\n'));
}

describe.runIf(hasNamespaces())('on a host', () => {
  const kibibytes = (mebibytes: number) => `${mebibytes * 1_024} kB\n`;
  const host = {
    '/proc/meminfo': `MemTotal: ${kibibytes(1_000)}MemFree: ${kibibytes(10)}MemAvailable: ${kibibytes(200)}`,
  };

  test.each([
    [`minFreeMemory(${200 * MIB})`, undefined],
    [`minFreeMemory(${200 * MIB + 1})`, '200 MiB of memory are free on this host, less than 200 MiB (minFreeMemory)'],
    ['minFreeMemory({ fraction: 0.2 })', undefined],
    ['minFreeMemory({ fraction: 0.25 })', '200 MiB of memory are free on this host, less than 250 MiB (minFreeMemory)'],
  ])('with 200 of 1,000 MiB available, %s', (check, expected) => {
    expect(found(check, withFiles(host))).toBe(expected);
  });

  test.each([
    [1.5, undefined],
    [1.4, /^the load is \d+\.\d\d for each core, more than 1.4 \(maxLoad\)$/],
  ])('where the last minute had 1.5 times as many at work as there are cores, maxLoad(%d)', (most, expected) => {
    const load = (1.5 * Number(execFileSync('nproc', { encoding: 'utf8' }))).toFixed(2);
    const wrapper = withFiles({ '/proc/loadavg': `${load} 0.00 0.00 1/100 1000\n` });
    const said = found(`maxLoad(${most})`, wrapper);
    if (expected) expect(said).toMatch(expected);
    else expect(said).toBeUndefined();
  });
});

describe.runIf(hasNamespaces())('in a cgroup of version 2', () => {
  /** Two, one within the other, as a process in the inner one sees them. */
  function cgroups(outer: Record<string, string>, inner: Record<string, string>): string[] {
    const mounted = temporaryDirectory();
    const directories = { outer: join(mounted, 'outer'), inner: join(mounted, 'outer', 'inner') };
    mkdirSync(directories.inner, { recursive: true });
    for (const [name, content] of Object.entries(outer)) writeFileSync(join(directories.outer, name), content);
    for (const [name, content] of Object.entries(inner)) writeFileSync(join(directories.inner, name), content);
    return withFiles({
      '/proc/$$/mountinfo': `30 20 0:26 / ${mounted} rw shared:4 - cgroup2 cgroup2 rw\n`,
      '/proc/$$/cgroup': '0::/outer/inner\n',
    });
  }
  const of = (max: string, currentMib: number, inactiveMib = 0) => ({
    'memory.max': `${max}\n`,
    'memory.current': `${currentMib * MIB}\n`,
    'memory.stat': `anon 1\ninactive_file ${inactiveMib * MIB}\nactive_file 7\n`,
  });

  test.each([
    [
      'its own limit counts',
      of('max', 900),
      of(String(500 * MIB), 450),
      /^50 MiB of memory are free in .*\/outer\/inner, /,
    ],
    [
      'so does that of the one it is in',
      of(String(500 * MIB), 450),
      of('max', 1),
      /^50 MiB .* in .*\/outer, less than 100/,
    ],
    ['what is cached of files is free', of('max', 900), of(String(500 * MIB), 450, 60), undefined],
    ['without a limit there is that of the host alone', of('max', 900), of('max', 900), undefined],
  ])('%s', (_, outer, inner, expected) => {
    const said = found(`minFreeMemory(${100 * MIB})`, cgroups(outer, inner));
    if (expected) expect(said).toMatch(expected);
    else expect(said).toBeUndefined();
  });
});

/** The memory cgroup of version 1 that this process is in, as it is mounted where cgroups usually are. */
function memoryCgroup(): string | undefined {
  const own = /^\d+:memory:(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
  const directory = own === undefined ? undefined : join('/sys/fs/cgroup/memory', own);
  const isThere = directory !== undefined && process.getuid?.() === 0 && existsSync(directory);
  if (!isThere) console.warn('skipped: no memory cgroup of version 1 can be made here');
  return isThere ? directory : undefined;
}

const above = memoryCgroup();

describe.runIf(above)('in a real cgroup of version 1', () => {
  test.each([
    [300, /MiB of memory are free in .*\/holdfast-test-\d+, less than 200 MiB \(minFreeMemory\)$/],
    [2_000, undefined],
  ])('that has %d MiB, with less than 200 in use, 200 MiB of them free', async (limitMib, expected) => {
    const cgroup = join(above as string, `holdfast-test-${process.pid}`);
    mkdirSync(cgroup);
    onTestFinished(() => eventually(() => rmdirSync(cgroup)));
    writeFileSync(join(cgroup, 'memory.limit_in_bytes'), String(limitMib * MIB));
    const inside = ['sh', '-ec', `echo $$ > ${cgroup}/cgroup.procs; exec "$0" "$@"`];
    // What it keeps is in use.
    const said = found(`globalThis.kept = Buffer.alloc(${110 * MIB}, 1), minFreeMemory(${200 * MIB})`, inside);
    if (expected) expect(said).toMatch(expected);
    else expect(said).toBeUndefined();
  });
});

test.each([
  ['minFreeFds(30)', undefined],
  ['minFreeFds(64)', /^\d\d descriptors are free, fewer than 64 \(minFreeFds\)$/],
])('with 64 descriptors, %s', (check, expected) => {
  const said = found(check, ['sh', '-c', 'ulimit -n 64; exec "$0" "$@"']);
  if (expected) expect(said).toMatch(expected);
  else expect(said).toBeUndefined();
});

test.each([
  ['minFreeMemory', () => minFreeMemory(-1), '-1'],
  ['minFreeMemory', () => minFreeMemory(Number.NaN), 'NaN'],
  ['fraction', () => minFreeMemory({ fraction: 1.1 }), '1.1'],
  ['fraction', () => minFreeMemory({ fraction: 0 }), '0'],
  ['minFreeFds', () => minFreeFds(1.5), '1.5'],
  ['maxLoad', () => maxLoad(0), '0'],
])('%s is refused by name and value', (name, make, value) => {
  expect(make).toThrow(RangeError);
  expect(make).toThrow(name);
  expect(make).toThrow(value);
});
