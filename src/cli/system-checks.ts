import { realpathSync, statSync } from 'node:fs';
import { arch, platform, release } from 'node:os';
import { hasProc, read } from '../internal/proc.ts';
import { cgroupPlace } from '../managed-child/cgroup.ts';
import { broken, type Check, degraded, ok } from './check.ts';
import { messageOf } from './output.ts';
import { findProgram, isExecutable, outputOf } from './programs.ts';

/** What every child and every lock needs of the system. */
export async function systemChecks(): Promise<Check[]> {
  return [system(), ok('node', process.version), await shell(), proc(), cgroup(), openFiles(), await ffmpeg()];
}

function system(): Check {
  const found = `${platform()} ${release()} ${arch()}`;
  if (platform() === 'linux') return ok('system', found);
  return degraded('system', found, 'holdfast is made for Linux and was not run elsewhere');
}

/** The guard of children is one. */
async function shell(): Promise<Check> {
  const advice = 'without it no child can be started; install a POSIX shell as /bin/sh';
  try {
    const answer = await outputOf('/bin/sh', ['-c', 'echo "$((6 * 7))"']);
    if (answer !== '42\n') return broken('/bin/sh', `it does not calculate: ${answer}`, advice);
    return ok('/bin/sh', realpathSync('/bin/sh'));
  } catch (error) {
    return broken('/bin/sh', messageOf(error), advice);
  }
}

function proc(): Check {
  if (!hasProc())
    return degraded('/proc', 'not mounted', 'mount it: without it no holder is named and no orphan found');
  if (!isShown('/proc/self/environ')) {
    return degraded(
      '/proc',
      'environments can not be read',
      'orphans are not found; allow /proc/*/environ in this sandbox',
    );
  }
  if (!isShown('/proc/locks')) {
    return degraded(
      '/proc',
      '/proc/locks can not be read',
      'a holder is named by its sidecar only; allow it in this sandbox',
    );
  }
  const hidepid = hiding();
  if (hidepid === undefined) return ok('/proc', 'mounted, shows all processes');
  return degraded(
    '/proc',
    `mounted with hidepid=${hidepid}`,
    "other users' holders and orphans are not all seen; mount it without hidepid, or with gid= of a group of this user",
  );
}

/** Where a sandbox hides a file of it, another is mounted over that, mostly an empty one. */
function isShown(path: string): boolean {
  return read(path) !== undefined && statSync(path).dev === statSync('/proc').dev;
}

/** Root sees all the same. */
function hiding(): string | undefined {
  if (process.getuid?.() === 0) return undefined;
  const mounts = [...(read('/proc/self/mounts') ?? '').matchAll(/^\S+ \/proc proc (\S+)/gm)];
  const options = mounts.at(-1)?.[1]; // of those mounted over each other, the last
  const hidepid = /(?:^|,)hidepid=([^,]+)/.exec(options ?? '')?.[1];
  return hidepid === '0' || hidepid === 'off' ? undefined : hidepid;
}

function cgroup(): Check {
  const place = cgroupPlace();
  if ('directory' in place) return ok('cgroup', `${place.directory}, delegated`);
  return degraded(
    'cgroup',
    place.why,
    'what leaves its process group is found by its mark instead; under systemd, set Delegate=yes',
  );
}

const FEW_FILES = 1_024;

/** Node has raised its own limit to the hard one. */
function openFiles(): Check {
  const limit = /^Max open files\s+(\S+)/m.exec(read('/proc/self/limits') ?? '')?.[1];
  if (limit === undefined) return degraded('open files', 'the limit can not be read', 'see ulimit -n');
  if (limit === 'unlimited' || Number(limit) >= FEW_FILES) return ok('open files', `${limit} at most`);
  return degraded('open files', `${limit} at most`, `raise it to ${FEW_FILES} or more: ulimit -n, or LimitNOFILE=`);
}

async function ffmpeg(): Promise<Check> {
  const named = process.env.FFMPEG_PATH;
  const path = named || findProgram('ffmpeg');
  const advice = named
    ? 'correct FFMPEG_PATH'
    : 'only who reads streams needs it: apt install ffmpeg, or set FFMPEG_PATH';
  if (path === undefined) return degraded('ffmpeg', 'not on the PATH, and FFMPEG_PATH is not set', advice);
  if (!isExecutable(path)) return degraded('ffmpeg', `${path} is no executable file`, advice);
  try {
    const version = /^ffmpeg version (\S+)/.exec(await outputOf(path, ['-hide_banner', '-version']))?.[1];
    return ok('ffmpeg', `${path}, version ${version ?? 'unknown'}`);
  } catch (error) {
    return degraded('ffmpeg', `${path}: ${messageOf(error)}`, advice);
  }
}
