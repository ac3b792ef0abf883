import { accessSync, constants, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { cgroupMounts } from '../internal/cgroup-mounts.ts';
import { read } from '../internal/proc.ts';
import { tagName } from './tag.ts';

/**
 * Where this process may make cgroups: below its own, if that is one of version 2 and was delegated to it, which is to
 * say that it may write there (systemd: `Delegate=yes`).
 */
export function cgroupPlace(): { readonly directory: string } | { readonly why: string } {
  const own = /^0::(.*)$/m.exec(read('/proc/self/cgroup') ?? '')?.[1];
  const mounts = cgroupMounts(2);
  if (own === undefined || mounts.length === 0) return { why: 'no cgroup v2 is mounted' };
  const mount = mounts.find(({ root }) => !relative(root, own).startsWith('..'));
  if (!mount) return { why: `the cgroup of this process (${own}) is not below one that is mounted` };
  const below = relative(mount.root, own);
  const directory = join(mount.directory, below);
  try {
    accessSync(directory, constants.W_OK);
    accessSync(join(directory, 'cgroup.procs'), constants.W_OK);
  } catch (error) {
    return { why: `${directory} is not delegated to this user (${(error as NodeJS.ErrnoException).code})` };
  }
  if (/threaded/.test(read(join(directory, 'cgroup.type')) ?? '')) return { why: `${directory} is for threads only` };
  return { directory };
}

let prefix: string | undefined;

/** What the paths of the cgroups of this owner's children begin with, before their sequence number; '' where it can't have any. */
export function cgroupPrefix(): string {
  prefix ??= choosePrefix();
  return prefix;
}

function choosePrefix(): string {
  const place = cgroupPlace();
  return 'directory' in place ? `${join(place.directory, tagName())}.` : '';
}

/**
 * A cgroup for the processes of one child. A process can not leave it by what it does to its session or its environment,
 * and `cgroup.kill` ends all that are in it at once.
 */
export class Cgroup {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Undefined where it can't be had. */
  static create(sequence: number): Cgroup | undefined {
    if (!cgroupPrefix()) return undefined;
    const cgroup = new Cgroup(cgroupPrefix() + sequence);
    try {
      mkdirSync(cgroup.path);
      accessSync(join(cgroup.path, 'cgroup.kill'), constants.W_OK); // since Linux 5.14
      return cgroup;
    } catch {
      cgroup.remove();
      return undefined;
    }
  }

  /** The pids in it and below it, as far as this pid namespace has numbers for them. */
  members(): number[] {
    return [this.path, ...foldersBelow(this.path)].flatMap(membersOf);
  }

  kill(): void {
    try {
      writeFileSync(join(this.path, 'cgroup.kill'), '1');
    } catch {
      // it is gone
    }
  }

  /** Removes it if nothing runs in it; false if something does. */
  remove(): boolean {
    return removeCgroup(this.path);
  }
}

/** All of this host; by path. */
export function allCgroups(): string[] {
  return cgroupMounts(2).flatMap(({ directory }) => foldersBelow(directory));
}

export function membersOf(cgroup: string): number[] {
  const pids = read(join(cgroup, 'cgroup.procs'))?.split('\n') ?? [];
  return pids.map(Number).filter((pid) => pid > 1);
}

/** With the cgroups that an owner within it made. */
export function removeCgroup(path: string): boolean {
  if (/^populated 1$/m.test(read(join(path, 'cgroup.events')) ?? '')) return false;
  for (const folder of [path, ...foldersBelow(path)].reverse()) {
    try {
      rmdirSync(folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return false;
    }
  }
  return true;
}

/** Above comes before below. */
function foldersBelow(path: string): string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(path, name));
    return folders.flatMap((folder) => [folder, ...foldersBelow(folder)]);
  } catch {
    return [];
  }
}
