import { describe, expect, test } from 'vitest';
import { parseDuration, UsageError } from '../../src/cli/arguments.ts';
import { complaintAboutNode } from '../../src/cli/node-version.ts';
import { parseRun } from '../../src/cli/run-options.ts';
import { holdfast } from './support.ts';

describe('holdfast refuses, and names the option and the value:', () => {
  const command = ['--', 'true'];
  test.each([
    [['--source', 'x'], 'the command is missing'],
    [['--source', 'x', '--'], 'the command is missing'],
    [command, '--source is missing'],
    [['--source', '', ...command], '--source: a source must not be an empty string'],
    [['--source', 'http://[', ...command], '--source: a source that starts with http: must be a valid URL'],
    [['--source', ...command], "'--source <value>' argument missing"],
    [['--source', 'x', 'ffmpeg', ...command], "Unexpected argument 'ffmpeg'"],
    [['--source', 'x', 'http://joe:hunter2@h/', ...command], "Unexpected argument 'http://***@h/'"],
    [['--source', 'x', '--sorce', 'y', ...command], "Unknown option '--sorce'"],
    [
      ['--source', 'x', '--grace', '5 parsecs', ...command],
      '--grace must be a duration, as in 500ms, 10s or 2m; received "5 parsecs"',
    ],
    [
      ['--source', 'x', '--grace=-1s', ...command],
      '--grace must be a duration, as in 500ms, 10s or 2m; received "-1s"',
    ],
    [['--source', 'x', '--grace', '10', ...command], '--grace needs a unit, as in 500ms, 10s or 2m; received "10"'],
    [['--source', 'x', '--grace', '99999m', ...command], '--grace must be at most 35791m, received "99999m"'],
    [['--source', 'x', '--on-busy', 'panic', ...command], '--on-busy must be skip, fail, wait; received "panic"'],
    [['--source', 'x', '--timeout', '1s', ...command], '--timeout needs --on-busy wait'],
    [
      ['--source', 'x', '--on-busy', 'wait', '--timeout', 'soon', ...command],
      '--timeout must be a duration, as in 500ms, 10s or 2m; received "soon"',
    ],
    [['--source', 'x', '--dir', '', ...command], '--dir must not be empty'],
    [['--source', 'x', '--dir', 'd', '--lock-file', 'f', ...command], '--dir and --lock-file exclude each other'],
    [
      ['--source', 'x', '--source', 'y', '--lock-file', 'f', ...command],
      '--lock-file is for one --source, received 2 of them',
    ],
    [
      ['--source', 'x', '--lock-file', 'f', '--backend', 'kernel', ...command],
      '--backend must be auto or flock, received "kernel"',
    ],
    [
      ['--source', 'x', '--backend', 'magic', ...command],
      '--backend must be auto, kernel, flock, lease; received "magic"',
    ],
  ])('run %j', (argv, message) => {
    expect(() => parseRun(argv)).toThrow(UsageError);
    expect(() => parseRun(argv)).toThrow(message);
  });

  test.each([
    [[], 'no command is given; see holdfast --help'],
    [['rum'], 'there is no command rum; see holdfast --help'],
    [['constructor'], 'there is no command constructor; see holdfast --help'],
    [['run', '--source', 'x'], 'the command is missing: it comes last, after --; see holdfast run --help'],
    [['locks', '--al'], "Unknown option '--al'; see holdfast locks --help"],
    [['orphans', 'x'], "Unexpected argument 'x'; see holdfast orphans --help"],
    [['doctor', '--dir', ''], '--dir must not be empty; see holdfast doctor --help'],
  ])('%j with exit code 64 and where help is', async (argv, message) => {
    expect(await holdfast(argv)).toEqual({ exit: 64, stdout: '', stderr: `holdfast: ${message}\n` });
  });
});

test.each([
  ['0s', 0],
  ['500ms', 500],
  ['10s', 10_000],
  ['1.5m', 90_000],
])('the duration %s is %i ms', (text, ms) => {
  expect(parseDuration('--grace', text, 1e9)).toBe(ms);
});

test('what follows -- is the command, whatever it looks like', () => {
  expect(parseRun(['--source', 'x', '--', 'ffmpeg', '--grace', '--', '-h'])).toMatchObject({
    command: 'ffmpeg',
    args: ['--grace', '--', '-h'],
    onBusy: 'skip',
    timeoutMs: 0,
    graceMs: 5_000,
  });
});

test.each([
  [['--help'], 'holdfast doctor'],
  [['run', '--help'], '--on-busy'],
  [['run', '--source', 'x', '-h', '--', 'true'], '--on-busy'],
  [['locks', '--help'], '--json'],
  [['orphans', '--help'], '--kill'],
  [['doctor', '--help'], '--dir'],
  [['--version'], '.'],
])('%j is answered on stdout', async (argv, text) => {
  expect(await holdfast(argv)).toEqual({ exit: 0, stdout: expect.stringContaining(text), stderr: '' });
});

test.each([
  ['20.19.2', false],
  ['22.11.0', false],
  ['22.12.0', true],
  ['24.0.0', true],
])('on Node %s it runs: %s', (version, runs) => {
  const complaint = complaintAboutNode(version);
  if (runs) expect(complaint).toBeUndefined();
  else expect(complaint).toMatch(`this is Node ${version}, but Node 22.12 or later is needed`);
});
