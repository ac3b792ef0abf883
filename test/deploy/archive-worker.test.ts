import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SourceLock } from 'holdfast';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { type Program, processesWithMark, startProgram } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { serviceSettings } from './systemd.ts';

const folder = new URL('../../examples/deploy/', import.meta.url).pathname;
const cli = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const settings = serviceSettings(readFileSync(join(folder, 'holdfast-archive@.service'), 'utf8'));
const source = 'http://192.168.1.20:5004/auto/v5.1';

/**
 * The arguments that systemd would make of `ExecStart=` with this environment file. Its rules of quoting are those of the
 * shell where the examples use them; `xargs` splits as it splits `$COMMAND`.
 */
function argumentsWith(environmentFile: string): string[] {
  const print = `printf '%s\\0' "$SOURCE" "$COMMAND" "$ON_BUSY"`;
  const script = [...(settings.Environment ?? []), '. "$0"', print].join('\n');
  const [SOURCE = '', COMMAND = '', ON_BUSY = ''] = output('sh', ['-c', script, environmentFile]);
  const command = output('xargs', ['-r', 'printf', '%s\\0'], COMMAND);
  const values: Record<string, string> = { SOURCE, ON_BUSY };
  const [line = ''] = settings.ExecStart ?? [];
  const [, , ...words] = line.split(' '); // Node and the program
  return words.flatMap((word) => {
    return word === '$COMMAND' ? command : word.replace(/^\$\{(\w+)\}$/, (_, name: string) => values[name] ?? '');
  });
}

function output(program: string, args: string[], input = ''): string[] {
  return execFileSync(program, args, { input, encoding: 'utf8' }).split('\0').slice(0, -1);
}

/** One run of the unit, with a shell program for its command. */
function startUnit(dir: string, script: string): Program & { readonly mark: string } {
  const file = join(temporaryDirectory(), 'studio.env');
  writeFileSync(file, `SOURCE="${source}"\nCOMMAND='sh -c "${script}"'\n`);
  const mark = `TEST_UNIT=${randomUUID()}`;
  const env = { HOLDFAST_LOCK_DIR: dir, TEST_UNIT: mark.split('=')[1] };
  const program = startProgram(cli, env, argumentsWith(file));
  onTestFinished(() => program.kill());
  return { ...program, mark };
}

/** As `KillMode=control-group` does: every process of the unit is told. */
function stop({ mark }: { readonly mark: string }): void {
  for (const { pid } of processesWithMark(mark)) {
    try {
      process.kill(pid, 'SIGTERM');
    } catch {
      // it has just ended by itself
    }
  }
}

test('the example of an environment file means what it shows', () => {
  const command = ['/usr/bin/ffmpeg', '-nostdin', '-i', source, '-c', 'copy', '-f', 'segment'];
  const files = ['-segment_time', '900', '-strftime', '1', 'studio %Y-%m-%d %H.%M.%S.ts'];
  const options = ['--source', source, '--grace', '8s', '--on-busy', 'fail'];
  const args = argumentsWith(join(folder, 'archive-example.env'));
  expect(args).toEqual(['run', ...options, '--', ...command, ...files]);
});

test('the line of the unit runs its command while it holds the source, and refuses a second with exit code 75', async () => {
  const dir = temporaryDirectory();
  const first = startUnit(dir, 'echo ready; exec sleep 60');
  await first.says(/ready/);
  const holder = await SourceLock.inspect(source, { dir });
  expect(holder).toMatchObject({ pid: first.pid });
  const second = startUnit(dir, 'echo never');
  expect(await second.exit).toBe(75);
  await second.says(new RegExp(`pid ${first.pid}`));
  expect(second.output()).not.toContain('never');
  stop(first);
  expect(await first.exit).toBe('SIGTERM');
  expect(await SourceLock.inspect(source, { dir })).toBeUndefined();
  await eventually(() => expect(processesWithMark(first.mark)).toEqual([]));
});

test('a command that ignores SIGTERM is gone before systemd would end the unit by force', async () => {
  const dir = temporaryDirectory();
  const unit = startUnit(dir, 'trap : TERM; echo ready; while :; do sleep 0.1; done');
  await unit.says(/ready/);
  const begin = performance.now();
  stop(unit);
  await unit.exit;
  await eventually(() => expect(processesWithMark(unit.mark)).toEqual([]));
  const tookMs = performance.now() - begin;
  expect(tookMs).toBeGreaterThan(7_900);
  expect(tookMs).toBeLessThan(1_000 * Number.parseInt(settings.TimeoutStopSec?.[0] as string, 10));
  expect(await SourceLock.inspect(source, { dir })).toBeUndefined();
});

test('an environment file without a command is a wrong command line, which is not tried again', async () => {
  const file = join(temporaryDirectory(), 'empty.env');
  writeFileSync(file, `SOURCE=${source}\n`);
  const program = startProgram(cli, { HOLDFAST_LOCK_DIR: temporaryDirectory() }, argumentsWith(file));
  expect(String(await program.exit)).toBe(settings.RestartPreventExitStatus?.[0]);
});
