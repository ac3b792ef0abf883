import { describe, expect, it, onTestFinished } from 'vitest';
import { PublisherProcess } from '../publisher/support.ts';
import { debianProgram } from '../support/debian.ts';
import { hasNamespaces } from '../support/namespace.ts';
import { testNetwork } from '../support/network.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ended } from './support.ts';

const program = hasNamespaces() ? await debianProgram('hdhomerun_config', ['hdhomerun-config']) : undefined;

describe.skipIf(!program)('hdhomerun_config', () => {
  it('discovers the publisher from another host of its network, finds it by its ID, reads and writes a variable', async () => {
    const network = await testNetwork();
    onTestFinished(() => network.end());
    const [server, client] = network.hosts;
    const flags = [
      '--port',
      '80',
      '--demo',
      '--bind',
      '0.0.0.0',
      '--discovery',
      'on',
      '--lock-dir',
      temporaryDirectory(),
    ];
    const publisher = new PublisherProcess(flags, server.env);
    onTestFinished(() => publisher[Symbol.asyncDispose]());
    await publisher.says(/watch: /, patienceMs(30_000));
    const { path, env } = program as NonNullable<typeof program>;
    const run = async (...args: readonly string[]) => {
      const [wrapper = '', ...rest] = [...client.wrapper, path, ...args];
      return (await ended(wrapper, rest, env)).stdout.trim();
    };
    const found = await run('discover');
    const [, id = ''] = /^hdhomerun device ([0-9A-F]{8}) found at 10\.99\.0\.1$/m.exec(found) ?? [];
    expect(id, found).not.toBe('');
    expect(await run('discover', server.address)).toContain(id);
    expect(await run(id, 'get', '/sys/model')).toMatch(/^hdhomerun/);
    expect(await run(id, 'get', '/tuner0/status')).toMatch(/^ch=none lock=none/);
    expect(await run(id, 'get', 'help')).toContain('/tuner<n>/');
    expect(await run(id, 'get', '/no/such')).toMatch(/^ERROR: /);
    expect(await run(id, 'set', '/sys/model', 'mine')).toMatch(/^ERROR: /);
  });
});
