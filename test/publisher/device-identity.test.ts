import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { correctedDeviceId, isValidDeviceId, makeDeviceId } from '../../examples/hdhomerun/index.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PublisherProcess } from './support.ts';

const lockDir = temporaryDirectory(afterAll);
const ARGS = ['--source', 'a=/nowhere/a.ts', '--lock-dir', lockDir];

const start = (...flags: readonly string[]) => PublisherProcess.start([...ARGS, ...flags]);
const idOf = async (publisher: PublisherProcess) => (await publisher.json('/discover.json')).DeviceID as string;

describe('a DeviceID', () => {
  it('that is made has the right checksum, is the same for a seed, and is of no model of the makers', () => {
    fc.assert(
      fc.property(fc.string(), (seed) => {
        const id = makeDeviceId(seed);
        expect(id).toMatch(/^1[A-F][0-9A-F]{6}$/);
        expect(isValidDeviceId(id)).toBe(true);
        expect(makeDeviceId(seed)).toBe(id);
      }),
      { verbose: 1 },
    );
  });

  it('whose last digit is wrong is corrected', () => {
    expect(correctedDeviceId('12345678')).toBe('12345674');
    expect(correctedDeviceId('1234abcd')).toBe('1234ABC2');
    expect(isValidDeviceId(correctedDeviceId('12345678'))).toBe(true);
  });
});

describe('an installation', () => {
  it('has a DeviceID that stays, and another than one with a state directory of its own', async () => {
    const [first, second] = [temporaryDirectory(), temporaryDirectory()];
    const ids: string[] = [];
    for (const dir of [first, second, first]) {
      await using publisher = await start('--state-dir', dir);
      ids.push(await idOf(publisher));
    }
    expect(ids[0]).toMatch(/^1[A-F][0-9A-F]{6}$/);
    expect(ids[2]).toBe(ids[0]);
    expect(ids[1]).not.toBe(ids[0]);
  });

  it('is the one of its user without a state directory, and two at once never are the same device', async () => {
    const home = { XDG_STATE_HOME: temporaryDirectory() };
    await using first = await PublisherProcess.start(ARGS, home);
    await using second = await PublisherProcess.start(ARGS, home);
    expect(await idOf(second)).not.toBe(await idOf(first));
    expect(second.output).toMatch(
      /WARN the state directory \S+\/holdfast-publisher is used by pid \d+ since \S+: .*main\.ts.*: nothing is kept over a restart, and the DeviceID is one for this run; see --state-dir\n/,
    );
    expect(second.output).toContain(`used by pid ${first.pid} `);
    expect(first.output).not.toContain('WARN the state directory');
  });

  it('does not start in a state directory that another publisher uses, and names that', async () => {
    const dir = temporaryDirectory();
    await using first = await start('--state-dir', dir);
    const second = new PublisherProcess([
      '--port',
      '0',
      ...ARGS,
      '--state-dir',
      join(dir, '..', dir.split('/').pop() ?? ''),
    ]);
    const { code, output } = await second.exited;
    expect(code).toBe(1);
    expect(output).toContain(`holdfast-publisher: the state directory ${dir} is used by pid ${first.pid} since `);
    expect(output).toContain('; choose another with --state-dir');
  });

  it('has its state directory again at once after the one before was killed', async () => {
    const dir = temporaryDirectory();
    await using first = await start('--state-dir', dir);
    const id = await idOf(first);
    first.kill('SIGKILL');
    await first.exited;
    await using second = await start('--state-dir', dir);
    expect(await idOf(second)).toBe(id);
  });

  it('gets a new DeviceID and says so if what it kept can not be understood', async () => {
    const dir = temporaryDirectory();
    writeFileSync(join(dir, 'identity.json'), '{"seed":"zz');
    await using publisher = await start('--state-dir', dir);
    expect(isValidDeviceId(await idOf(publisher))).toBe(true);
    expect(publisher.output).toMatch(/WARN \S+identity\.json can't be used: .*; it is now identity\.json\.broken/);
  });

  it('does not start under another DeviceID if what it kept can not be read now', async () => {
    const dir = temporaryDirectory();
    const path = join(dir, 'identity.json');
    symlinkSync(path, path);
    const publisher = new PublisherProcess(['--port', '0', ...ARGS, '--state-dir', dir]);
    const { code, output } = await publisher.exited;
    expect(code).toBe(1);
    expect(output).toMatch(/identity\.json can't be read: ELOOP.*; it holds the DeviceID: make it readable/);
  });

  it('does not start where it can keep nothing, and says why', async () => {
    const file = join(temporaryDirectory(), 'file');
    writeFileSync(file, '');
    const publisher = new PublisherProcess(['--port', '0', ...ARGS, '--state-dir', join(file, 'state')]);
    const { code, output } = await publisher.exited;
    expect(code).toBe(1);
    expect(output).toMatch(
      /the state directory \S+\/file\/state can't be used \(.*ENOTDIR.*\); choose another with --state-dir/,
    );
  });

  it('has the DeviceID that it is given, in capitals', async () => {
    await using publisher = await start('--device-id', '1234abc2');
    expect(await idOf(publisher)).toBe('1234ABC2');
  });

  it.each([
    ['12345678', 'the checksum of the others; 12345674 has'],
    ['1234', '8 hex digits'],
    ['1234ABCG', '8 hex digits'],
  ])('is not given %s for a DeviceID: %s', async (id, complaint) => {
    const publisher = new PublisherProcess(['--port', '0', ...ARGS, '--device-id', id]);
    const { code, output } = await publisher.exited;
    expect(code).toBe(2);
    expect(output).toContain(`--device-id must be 8 hex digits`);
    expect(output).toContain(complaint);
    expect(output).toContain(`received "${id}"`);
  });
});
