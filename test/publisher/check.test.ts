import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { loadConfig } from '../../examples/publisher/config/config.ts';
import { parseFlags } from '../../examples/publisher/config/flags.ts';
import { checkHost, type Verdict } from '../../examples/publisher/config/host-check.ts';
import { eventually } from '../support/eventually.ts';
import { hasNamespaces, withMounts } from '../support/namespace.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PublisherProcess } from './support.ts';

/** What is said of some flags on this host, with directories that are fine unless they are named. */
function check(...flags: string[]): Promise<Verdict> {
  const fine = ['--port', '0', '--lock-dir', temporaryDirectory(), '--state-dir', temporaryDirectory()];
  return checkHost(loadConfig(parseFlags([...fine, ...flags]), {}));
}

it('complains of nothing where nothing is wrong', async () => {
  expect(await check()).toEqual({ complaints: [], warnings: [] });
});

it.each(['state', 'lock'])('makes no %s directory: who checks may be another user than who runs it', async (what) => {
  const path = join(temporaryDirectory(), 'a', 'b');
  expect((await check(`--${what}-dir`, path)).complaints).toEqual([]);
  expect(existsSync(join(path, '..'))).toBe(false);
});

it.runIf(process.geteuid?.() === 0)('leaves nothing in a lock directory of another user', async () => {
  const path = temporaryDirectory();
  chownSync(path, 12_345, 0);
  expect(await check('--lock-dir', path)).toEqual({ complaints: [], warnings: [] });
  expect(readdirSync(path)).toEqual([]);
});

it.runIf(hasNamespaces())('makes nothing for locks where no directory is named', () => {
  const here = [...withMounts('mount -t tmpfs none /run'), 'sh', '-c', '"$0" "$@" && ls -A /run', process.execPath];
  const program = ['--import', './scripts/from-source.mjs', 'examples/publisher/main.ts', '--check', '--port', '0'];
  const [unshare = '', ...args] = [...here, ...program, '--state-dir', temporaryDirectory()];
  const env = { ...process.env, HOLDFAST_LOCK_DIR: '' };
  expect(execFileSync(unshare, args, { env, encoding: 'utf8' })).toBe('the configuration can be run\n');
});

it('complains of all at once that would keep it from running', async () => {
  const file = join(temporaryDirectory(), 'a-file');
  writeFileSync(file, '');
  const { complaints } = await check('--lock-dir', file, '--state-dir', join(file, 'x'), '--bind', '203.0.113.9');
  expect(complaints).toEqual([
    expect.stringContaining(`the lock directory ${file} can't be used`),
    expect.stringContaining(`the state directory ${file}/x can't be made`),
    expect.stringContaining('203.0.113.9 is no address of this host (EADDRNOTAVAIL); see --bind'),
  ]);
});

it('warns of a port that is taken, of files and devices that are not there, and of what is there twice', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await eventually(() => expect(server.listening).toBe(true));
  const { port } = server.address() as { port: number };
  const sources = [
    '--source',
    'a={"url":"/nowhere.ts","number":"1"}',
    '--source',
    'b={"url":"/dev/null","number":"1"}',
  ];
  const pushes = ['x', 'y'].flatMap((id) => ['--push', `${id}={"channel":"a","url":"udp://127.0.0.1:9"}`]);
  const devices = ['--device', 'http://me:hunter2@127.0.0.1:9', '--guide', '/nowhere.xml', '--port', String(port)];
  const { complaints, warnings } = await check(...sources, ...pushes, ...devices);
  expect(complaints).toEqual([]);
  expect(warnings.join('\n')).toContain('source a: /nowhere.ts does not exist (ENOENT)');
  expect(warnings.join('\n')).toContain("guide /nowhere.xml can't be read (ENOENT)");
  expect(warnings.join('\n')).toContain('a and b have the same number, 1');
  expect(warnings.join('\n')).toContain('the pushes x and y go to the same address');
  expect(warnings.join('\n')).toContain(`port ${port} is taken by another program (EADDRINUSE)`);
  expect(warnings.join('\n')).toContain('its channels are published as soon as it answers');
});

it('warns of discovery that is wanted and of hardware that is named, where they are not to be had', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await eventually(() => expect(server.listening).toBe(true));
  const { port } = server.address() as { port: number };
  // Some hosts have such hardware.
  const ffmpeg = join(temporaryDirectory(), 'ffmpeg');
  writeFileSync(ffmpeg, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  vi.stubEnv('FFMPEG_PATH', ffmpeg);
  onTestFinished(() => void vi.unstubAllEnvs());
  const discovery = ['--discovery', 'on', '--discovery-port', String(port)];
  const { complaints, warnings } = await check(...discovery, '--hardware', 'nvenc');
  expect([complaints, warnings]).toEqual([
    [],
    [
      expect.stringContaining(`discovery can't be answered on port ${port} of 127.0.0.1 (EADDRINUSE)`),
      expect.stringMatching(/^--hardware nvenc does not work here: .*; until then no profile is encoded$/s),
    ],
  ]);
  expect((await check('--discovery', 'auto', '--discovery-port', String(port))).warnings).toEqual([]);
});

it('warns of discovery where another has only the UDP port of it', async () => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  onTestFinished(() => void socket.close());
  await once(socket, 'listening');
  const { port } = socket.address();
  const discovery = ['--discovery', 'on', '--discovery-port', String(port)];
  expect((await check(...discovery)).warnings).toEqual([
    expect.stringContaining(`discovery can't be answered on port ${port} of 127.0.0.1 (EADDRINUSE)`),
  ]);
});

it.each([
  ['fine', 0, 'the configuration can be run\n'],
  ['a lock directory that is a file', 2, "can't be used"],
])('ends with %s by exit code %i, and serves nothing', async (_, code, text) => {
  const locks = join(temporaryDirectory(), 'locks');
  if (code === 0) mkdirSync(locks);
  else writeFileSync(locks, '');
  const args = ['--check', '--port', '0', '--lock-dir', locks, '--source', 'a=http://me:hunter2@127.0.0.1:9/'];
  const { code: actual, output } = await new PublisherProcess(args).exited;
  expect([actual, output]).toEqual([code, expect.stringContaining(text)]);
  expect(output).not.toMatch(/dashboard|hunter2/);
});
