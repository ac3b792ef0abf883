import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { complaintAboutNode } from '../../examples/publisher/node-version.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { processesWithMark, startProgram } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, Viewer } from './support.ts';

const repository = new URL('../../', import.meta.url);

it.each([
  ['18.20.0', false],
  ['20.19.2', false],
  ['22.11.0', false],
  ['22.12.0', true],
  ['24.0.0', true],
])('on Node %s it runs: %s', (version, runs) => {
  const complaint = complaintAboutNode(version);
  if (runs) expect(complaint).toBeUndefined();
  else expect(complaint).toMatch(`this is Node ${version}, but Node 22.12 or later is needed: install it`);
});

it('goes on when who reads its log goes, as head does', async () => {
  const port = await freePort();
  const ids = ['a', 'b', 'c'];
  const sources = ids.flatMap((id) => ['--source', `${id}=/nowhere/${id}.ts`]);
  const args = ['--port', String(port), ...sources, '--lock-dir', temporaryDirectory()];
  const publisher = startProgram('examples/publisher/main.ts', {}, args);
  onTestFinished(() => publisher.kill('SIGKILL'));
  await publisher.says(/dashboard/);
  publisher.process.stdout?.destroy();
  publisher.process.stderr?.destroy();
  for (const id of ids) expect((await ask(`http://127.0.0.1:${port}/channels/${id}.ts`)).status).toBe(502);
  publisher.process.kill('SIGTERM');
  expect(await publisher.exit).toBe(0);
});

it.each([
  ['SIGTERM to npm alone', (npm: number) => process.kill(npm, 'SIGTERM')],
  ['Ctrl-C, which is SIGINT to all', (npm: number) => process.kill(-npm, 'SIGINT')],
])('npm start ends with all that it started on %s', async (_, end) => {
  const mark = `PUBLISHER_TEST_MARK=${crypto.randomUUID()}`;
  const [name = '', value] = mark.split('=');
  const port = await freePort();
  const args = ['start', '--', '--port', String(port), '--lock-dir', temporaryDirectory()];
  const env = { ...process.env, [name]: value, XDG_STATE_HOME: temporaryDirectory() };
  const npm = spawn('npm', args, { cwd: repository, env, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => {
    for (const { pid } of processesWithMark(mark)) process.kill(pid, 'SIGKILL');
  });
  let output = '';
  npm.stdout.on('data', (chunk) => {
    output += chunk;
  });
  await eventually(() => expect(output).toContain('watch: '), patienceMs(15_000));
  using viewer = await Viewer.open(`http://127.0.0.1:${port}/channels/5.1.ts`);
  await viewer.more();
  expect(processesWithMark(mark).some(({ command }) => command.includes('ffmpeg'))).toBe(true);
  const ended = once(npm, 'close');
  end(npm.pid as number);
  await ended;
  await eventually(() => expect(processesWithMark(mark)).toEqual([]));
  expect(output).toContain('stopped\n');
});
