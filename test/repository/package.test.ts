import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';

const repository = new URL('../../', import.meta.url).pathname;
const project = mkdtempSync(join(tmpdir(), 'holdfast-user-'));
const run = (command: string, ...args: string[]) => execFileSync(command, args, { cwd: project, encoding: 'utf8' });

beforeAll(() => {
  const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', project], {
    cwd: repository,
    encoding: 'utf8',
  });
  writeFileSync(join(project, 'package.json'), '{"type":"module","private":true}');
  run('npm', 'install', '--silent', '--no-audit', '--no-fund', `./${packed.trim().split('\n').at(-1)}`);
}, 240_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

test('installing the package pulls nothing that only the examples need', () => {
  const installed = readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'));
  const kernelLocks = ['fs-native-extensions', 'require-addon', 'which-runtime', ...bare(installed)];
  const leases = ['proper-lockfile', 'graceful-fs', 'retry', 'signal-exit'];
  const attempts = ['p-retry', 'is-network-error'];
  expect(installed.sort()).toEqual(['holdfast', 'tree-kill', ...kernelLocks, ...leases, ...attempts].sort());
});

/** What fs-native-extensions brings to find its binary. */
function bare(installed: readonly string[]): string[] {
  return installed.filter((name) => name.startsWith('bare-'));
}

test('it can be imported and required, and locks and spawns as installed', () => {
  const program = `
    const { SourceLock, ManagedChild } = await import('holdfast');
    const { SourceLock: required } = (await import('node:module')).createRequire(import.meta.url)('holdfast');
    const lock = await SourceLock.acquire('hdhomerun:1234ABC2/v5.1', { dir: 'locks' });
    const child = await ManagedChild.spawn('sleep', ['60'], { holds: lock });
    console.log(required === SourceLock, (await child.terminate()).reason);
    await lock.release();
    for (const backend of ['flock', 'lease']) {
      const other = await SourceLock.acquire('hdhomerun:1234ABC2/v5.1', { dir: backend, backend });
      console.log((await SourceLock.inspect('hdhomerun:1234ABC2/v5.1', { dir: backend })).pid === process.pid);
      await other.release();
    }
  `;
  expect(run(process.execPath, '--input-type=module', '-e', program)).toBe('true terminated\ntrue\ntrue\n');
});

test('its command line runs as installed', () => {
  const program = join(project, 'node_modules/.bin/holdfast');
  const holdfast = (...args: string[]) => spawnSync(program, args, { cwd: project, encoding: 'utf8', env: withNode() });
  expect(holdfast('--version').stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const command = ['--source', 'hdhomerun:1234ABC2/v5.1', '--dir', 'locks', '--', 'sh', '-c', 'echo on air; exit 5'];
  expect(holdfast('run', ...command)).toMatchObject({ status: 5, stdout: 'on air\n', stderr: '' });
});

/** Its first line looks for `node` on the PATH. */
function withNode(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` };
}

test('nothing of a tree survives a killed owner, as installed', async () => {
  const program = `
    const { ManagedChild } = await import('holdfast');
    const script = 'setsid sleep 300 & echo $!; echo $$; wait';
    const child = await ManagedChild.spawn('sh', ['-c', script], { containment: 'group', graceMs: 100 });
    child.stdout.pipe(process.stdout);
  `;
  const owner = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: project });
  let output = '';
  owner.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const pids = await eventually(() => {
    expect(output).toMatch(/^\d+\n\d+\n$/);
    return output.trim().split('\n').map(Number);
  });
  owner.kill('SIGKILL');
  await eventually(() => expect(pids.filter(isRunning)).toEqual([]));
});

test('its program runs as installed, with all that it needs bundled', () => {
  const program = join(project, 'node_modules/.bin/holdfast-publisher');
  expect(run(process.execPath, program, '--help')).toContain('--device');
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, '--prot', '1'], { encoding: 'utf8' });
  expect(status).toBe(2);
  expect(stdout + stderr).toContain('--prot');
});
