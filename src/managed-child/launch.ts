import { type ChildProcess, type SpawnOptions, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';
import { getDefaultHighWaterMark, setDefaultHighWaterMark, type Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { SpawnError } from '../errors.ts';
import { redactArguments, redactCredentials } from '../internal/redact.ts';
import { layOutDescriptors, needDescriptors } from './descriptors.ts';
import type { Settings } from './options.ts';
import { tagged } from './tag.ts';

/** What a program is started with. */
export interface Launch {
  readonly settings: Settings;
  readonly sequence: number;
  /** The descriptors of what it holds. */
  readonly held: readonly number[];
  /** Its path. */
  readonly cgroup: string | undefined;
  /**
   * Where there is no `/proc` nothing can find a child whose owner is killed before it has told the guard, so the child
   * tells it itself. `line` follows its pid.
   */
  readonly registration: { readonly pipe: Writable; readonly line: string } | undefined;
}

/**
 * Starts a program as the leader of its own process group. Resolves in the same turn as it is started, so that the guard
 * learns of it at once.
 */
export async function launch(what: Launch): Promise<ChildProcess> {
  const { stdio } = what.settings;
  let child: ChildProcess;
  try {
    needDescriptors(stdio.filter((each) => each === 'pipe').length);
    child = keepingNothing(what.settings, () =>
      what.cgroup || what.registration ? spawnByShell(what) : spawnDirectly(what),
    );
  } catch (cause) {
    throw spawnError(what.settings, cause);
  }
  if (child.pid === undefined) throw spawnError(what.settings, await failure(child));
  // Without a listener an error of kill(2), or of a pipe whose other end is gone, would end this process.
  for (const emitter of [child, child.stdin, child.stdout, child.stderr]) emitter?.on('error', () => {});
  return child;
}

/**
 * Makes the streams of a child keep nothing of what is not read: it stays in the kernel, from where one large read fetches
 * what many small writes brought. Node has no other way to say so for a child. A child that is written to, or whose output
 * may be looked at while it waits for its reader, to see whether it is ready, has the usual ones.
 */
function keepingNothing(settings: Settings, start: () => ChildProcess): ChildProcess {
  if (settings.stdio[0] === 'pipe' || settings.ready) return start();
  const usual = getDefaultHighWaterMark(false);
  setDefaultHighWaterMark(false, 1);
  try {
    return start();
  } finally {
    setDefaultHighWaterMark(false, usual);
  }
}

/** Why it was not started. Node leaves its pipes open. */
async function failure(child: ChildProcess): Promise<unknown> {
  const [cause] = await once(child, 'error');
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
  return cause;
}

function spawnDirectly({ settings, sequence, held }: Launch): ChildProcess {
  return spawn(
    settings.command,
    settings.args,
    spawnOptions(settings, sequence, layOutDescriptors(settings.stdio, held)),
  );
}

function spawnOptions({ cwd, env = process.env }: Settings, sequence: number, stdio: StdioOptions): SpawnOptions {
  return { cwd, env: tagged(env, sequence), detached: true, stdio, windowsHide: true };
}

/**
 * A shell that registers itself, enters the cgroup, and becomes the program: so the program has done nothing before. (A
 * process that has begun to fork can't be moved in whole, and moving it waits for the kernel, ~10 ms.)
 */
const ENTER = `
[ -z "$1" ] || echo "+ $$:0:$1" >&3
case $3 in
  auto) [ -z "$2" ] || { echo $$ > "$2/cgroup.procs"; } 2> /dev/null ;;
  *) [ -z "$2" ] || echo $$ > "$2/cgroup.procs" || exit 126 ;;
esac
if [ -n "$4" ]; then PWD=\${4#=}; export PWD; else unset PWD; fi
if [ -n "$5" ]; then OLDPWD=\${5#=}; export OLDPWD; else unset OLDPWD; fi
if [ -n "$6" ]; then SHLVL=\${6#=}; export SHLVL; else unset SHLVL; fi
shift 6
exec "$@" 3>&-
`;

/** The variables that shells set for themselves, as the program shall see them: '=' and the value, or '' for none. */
function ownVariables({ env = process.env }: Settings): string[] {
  return ['PWD', 'OLDPWD', 'SHLVL'].map((name) => (env[name] === undefined ? '' : `=${env[name]}`));
}

function spawnByShell({ settings, sequence, held, cgroup = '', registration }: Launch): ChildProcess {
  checkProgram(settings);
  const { command, args } = settings;
  const descriptors = layOutDescriptors([...settings.stdio, 'ignore'], held);
  const stdio = registration ? descriptors.with(3, registration.pipe) : descriptors;
  const known = [registration?.line ?? '', cgroup, settings.containment, ...ownVariables(settings)];
  return spawn('/bin/sh', ['-c', ENTER, 'sh', ...known, command, ...args], spawnOptions(settings, sequence, stdio));
}

/** Variables that shells do not take over from their environment, or that break them. */
const SHELLS_OWN = new Set(['IFS', 'OPTIND', 'PPID', 'UID', 'EUID', 'SHELLOPTS', 'BASHOPTS']);

/** The first variable that a shell would not hand on to a program as it is. */
export function lostVariable({ env = process.env }: Settings): string | undefined {
  const names = Object.keys(env).filter((name) => env[name] !== undefined);
  return names.find((name) => SHELLS_OWN.has(name) || !/^[A-Za-z_]\w*$/.test(name));
}

/** The shell would tell of it by its exit code only. */
function checkProgram({ command, env = process.env, cwd = '.' }: Settings): void {
  const folder = cwd instanceof URL ? fileURLToPath(cwd) : cwd;
  const search = (env.PATH ?? '/usr/bin:/bin').split(delimiter);
  const paths = command.includes('/') ? [command] : search.map((each) => `${each || '.'}/${command}`);
  const codes = paths.map((path) => whyNotRunnable(resolve(folder, path)));
  if (codes.includes(undefined)) return;
  const code = codes.includes('EACCES') ? 'EACCES' : 'ENOENT';
  throw Object.assign(new Error(`spawn ${command} ${code}`), { code, syscall: `spawn ${command}`, path: command });
}

function whyNotRunnable(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK);
    if (statSync(path).isDirectory()) return 'EACCES';
    const interpreter = interpreterOf(path);
    return interpreter && whyNotRunnable(interpreter);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

/** Of a script, by its first line; undefined as well for what may be executed but not read. */
function interpreterOf(path: string): string | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    const start = Buffer.alloc(256);
    readSync(file, start);
    return /^#![ \t]*([^ \t\n\0]+)/.exec(start.toString('latin1'))?.[1];
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** The system does not tell a missing working directory from a missing program. */
function spawnError({ command, cwd }: Settings, cause: unknown): SpawnError {
  const lack = cwd === undefined ? undefined : whyNoDirectory(cwd);
  const why = lack && `its cwd is no directory that can be entered: ${cwd} (${lack})`;
  return new SpawnError(redactCredentials(command), hidingArguments(cause), why);
}

function whyNoDirectory(cwd: string | URL): string | undefined {
  try {
    return statSync(cwd).isDirectory() ? undefined : 'ENOTDIR';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

/** Node puts the arguments into its error; a URL with a password may be among them, and a log prints causes. */
function hidingArguments(cause: unknown): unknown {
  if (typeof cause === 'object' && cause !== null && 'spawnargs' in cause) {
    cause.spawnargs = redactArguments(cause.spawnargs as string[]);
  }
  return cause;
}
