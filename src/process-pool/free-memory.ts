import { freemem, totalmem } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { cgroupMounts } from '../internal/cgroup-mounts.ts';
import { read } from '../internal/proc.ts';

/** Bytes that the processes of a place may have together, and how many of them are free. */
export interface Memory {
  /** For people: `on this host`, `in <cgroup>`. */
  readonly where: string;
  readonly total: number;
  readonly free: number;
}

/** The files of a memory cgroup, by its version. */
const FILES = {
  2: { limit: 'memory.max', usage: 'memory.current', cache: 'inactive_file' },
  1: { limit: 'memory.limit_in_bytes', usage: 'memory.usage_in_bytes', cache: 'total_inactive_file' },
} as const;

/** That of the host, and that of each cgroup above this process that has a limit. */
export function memories(): Memory[] {
  return [{ where: 'on this host', total: totalmem(), free: freemem() }, ...[...cgroupsAbove()].flatMap(memoryOf)];
}

interface MemoryCgroup {
  readonly directory: string;
  readonly version: 1 | 2;
}

/** The cgroup of this process and those it is in, as far as they can be seen. */
function* cgroupsAbove(): Generator<MemoryCgroup> {
  const own = read('/proc/self/cgroup') ?? '';
  const paths = { 2: /^0::(.*)$/m.exec(own)?.[1], 1: /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(own)?.[1] };
  for (const version of [2, 1] as const) {
    const path = paths[version];
    if (path === undefined) continue;
    for (const { root, directory } of version === 2 ? cgroupMounts(2) : cgroupMounts(1, 'memory')) {
      const below = relative(root, path);
      if (below.startsWith('..')) continue;
      let each = join(directory, below);
      for (; each !== directory; each = dirname(each)) yield { directory: each, version };
      yield { directory, version };
      break;
    }
  }
}

/** None where it has no limit. What is cached of files that are not in use is free: the kernel drops it when it has to. */
function memoryOf({ directory, version }: MemoryCgroup): Memory[] {
  const files = FILES[version];
  const [limit, usage] = [files.limit, files.usage].map((file) => Number(read(join(directory, file)) ?? Number.NaN));
  if (limit === undefined || usage === undefined || !Number.isFinite(limit) || !Number.isFinite(usage)) return [];
  const stat = read(join(directory, 'memory.stat')) ?? '';
  const cache = Number(new RegExp(`^${files.cache} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0);
  return [{ where: `in ${directory}`, total: limit, free: Math.max(0, limit - usage + cache) }];
}
