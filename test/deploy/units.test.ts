import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { temporaryDirectory } from '../support/temporary.ts';
import { complaints, serviceSettings, systemdProgram, systemRoot } from './systemd.ts';

const run = promisify(execFile);
const folder = new URL('../../examples/deploy/', import.meta.url).pathname;
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const units = readdirSync(folder).filter((name) => name.endsWith('.service'));
const analyze = await systemdProgram('systemd-analyze');
const sysusers = await systemdProgram('systemd-sysusers');
const tmpfiles = await systemdProgram('systemd-tmpfiles');

test('there are units for the publisher and for archive workers', () => {
  expect(units).toEqual(['holdfast-archive@.service', 'holdfast-publisher.service']);
});

describe.each(units)('%s', (name) => {
  const settings = serviceSettings(read(name));

  /** What `systemd-analyze verify` says of this text. */
  function complaintsOf(text: string): Promise<string> {
    if (!analyze) throw new Error('skipped without it');
    const root = temporaryDirectory();
    systemRoot(root, analyze, ['/usr/bin/node', '/bin/kill']);
    return complaints(analyze, root, name, text);
  }

  test.skipIf(!analyze)('systemd has nothing to say against it', async () => {
    expect(await complaintsOf(read(name))).toBe('');
  });

  test.skipIf(!analyze).each([
    ['a setting that does not exist', 'KillMode=', 'KilMode='],
    ['a value that does not exist', 'KillMode=control-group', 'KillMode=controlgroup'],
    ['a time without meaning', 'TimeoutStopSec=10s', 'TimeoutStopSec=10x'],
    ['an address family that does not exist', 'AF_UNIX AF_NETLINK', 'AF_UNIX AF_NETLNK'],
    ['a program that is not there', 'ExecStart=/usr/bin/node', 'ExecStart=/usr/bin/nodejs'],
    ['a target that does not exist', 'After=network-online.target', 'Requires=network-onlin.target'],
  ])('%s would be noticed', async (_, right, wrong) => {
    expect(read(name)).toContain(right);
    expect(await complaintsOf(read(name).replace(right, wrong))).not.toBe('');
  });

  test('stopping it ends every process of its cgroup within 10 s', () => {
    expect(settings).toMatchObject({
      KillMode: ['control-group'],
      TimeoutStopSec: ['10s'],
      SendSIGKILL: ['yes'],
      Delegate: ['yes'],
      ProtectControlGroups: ['no'],
    });
  });

  test('it shares the locks with the other units and outlasts their ends', () => {
    expect(settings).toMatchObject({
      User: ['holdfast'],
      Group: ['holdfast'],
      UMask: ['0007'],
      RuntimeDirectory: ['holdfast'],
      RuntimeDirectoryMode: ['0770'],
      RuntimeDirectoryPreserve: ['yes'],
    });
    expect(settings.Environment).toContain('HOLDFAST_LOCK_DIR=/run/holdfast/locks');
  });

  test('it sees the processes of the other units', () => {
    expect(settings).toMatchObject({ ProtectProc: ['default'], ProcSubset: ['all'] });
    expect(Object.keys(settings)).not.toContain('PrivatePIDs');
    expect(Object.keys(settings)).not.toContain('PrivateUsers');
  });

  test('it may do no more than it needs', () => {
    expect(settings).toMatchObject({
      ProtectSystem: ['strict'],
      ProtectHome: ['yes'],
      PrivateTmp: ['yes'],
      NoNewPrivileges: ['yes'],
      CapabilityBoundingSet: [''],
      RestrictAddressFamilies: ['AF_INET AF_INET6 AF_UNIX AF_NETLINK'],
    });
  });

  test('it starts a file that the package brings', () => {
    const { bin } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    const installed = Object.values<string>(bin).map((path) => `/usr/lib/node_modules/holdfast/${path}`);
    const [program, file] = settings.ExecStart?.[0]?.split(' ') ?? [];
    expect(program).toBe('/usr/bin/node');
    expect(installed).toContain(file);
  });
});

test('the grace of an archive worker ends before systemd loses patience', () => {
  const { ExecStart = [''], TimeoutStopSec = [''] } = serviceSettings(read('holdfast-archive@.service'));
  const grace = Number(/--grace (\d+)s /.exec(ExecStart[0] as string)?.[1]);
  expect(grace).toBe(8);
  expect(grace).toBeLessThan(Number.parseInt(TimeoutStopSec[0] as string, 10));
});

test('the two units differ in nothing that both need', () => {
  const [archive = {}, publisher = {}] = units.map((name) => serviceSettings(read(name)));
  const own = [
    'ExecStart',
    'Environment',
    'StateDirectory',
    'StateDirectoryMode',
    'Restart',
    'RestartSec',
    'RestartPreventExitStatus',
  ];
  const shared = Object.keys(archive).filter((name) => name in publisher && !own.includes(name));
  expect(shared.length).toBeGreaterThan(20);
  for (const name of shared) expect([name, archive[name]]).toEqual([name, publisher[name]]);
});

// Giving a directory to another user takes root.
test.skipIf(!sysusers || !tmpfiles || process.getuid?.() !== 0)(
  'the user, the group and the shared directory are made as the units expect them',
  async () => {
    const root = temporaryDirectory();
    mkdirSync(join(root, 'etc'));
    chmodSync(root, 0o755);
    const make = (program: typeof sysusers, ...args: string[]) =>
      run(program?.path as string, [`--root=${root}`, ...args], { env: program?.env });
    await make(sysusers, join(folder, 'holdfast.sysusers.conf'));
    await make(tmpfiles, '--create', join(folder, 'holdfast.tmpfiles.conf'));
    const [, , uid, gid] = /^holdfast:.*$/m.exec(readFileSync(join(root, 'etc/passwd'), 'utf8'))?.[0]?.split(':') ?? [];
    for (const path of ['run/holdfast', 'run/holdfast/locks']) {
      const stats = statSync(join(root, path));
      expect([path, stats.mode & 0o7777, stats.uid, stats.gid]).toEqual([path, 0o770, Number(uid), Number(gid)]);
    }
    expect(Number(uid)).toBeGreaterThan(0);
  },
);
