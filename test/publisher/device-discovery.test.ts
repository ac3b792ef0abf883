import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  ControlError,
  discover,
  getVariable,
  HdhomerunSimulator,
  setVariable,
} from '../../examples/hdhomerun/index.ts';
import type { Config } from '../../examples/publisher/config/config.ts';
import { Presence } from '../../examples/publisher/device/presence.ts';
import type { PublishedDevice } from '../../examples/publisher/device/published-device.ts';
import { debianProgram } from '../support/debian.ts';
import { eventually } from '../support/eventually.ts';
import { hasNamespaces } from '../support/namespace.ts';
import { type TestHost, type TestNetwork, testNetwork } from '../support/network.ts';
import { freePort } from '../support/ports.ts';
import { startProgram } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PublisherProcess, Viewer } from './support.ts';

const lockDir = temporaryDirectory(afterAll);
const client = await debianProgram('hdhomerun_config', ['hdhomerun-config']);

let simulator: HdhomerunSimulator;

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start({ size: { width: 160, height: 90 } });
});

afterAll(() => simulator.close());

function publish(...flags: readonly string[]): Promise<PublisherProcess> {
  return PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir, ...flags]);
}

/** A port of the loopback address that something else has. */
async function takenPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as { port: number }).port;
}

/** An address of this host alone that no other test has. */
const ownAddress = `127.66.${(process.pid >> 8) & 0xff}.${process.pid & 0xff || 1}`;

describe('discovery', () => {
  it('answers with the DeviceID and addresses that the documents have, and the number of tuners', async () => {
    const port = String(await freePort());
    await using publisher = await publish('--discovery', 'auto', '--discovery-port', port);
    const { DeviceID, DeviceAuth } = await publisher.json('/discover.json');
    const [found, ...others] = await discover({ address: '127.0.0.1', port: Number(port) });
    expect(others).toEqual([]);
    expect(found).toMatchObject({
      ...{ deviceId: DeviceID, deviceAuth: DeviceAuth, tunerCount: 2, address: '127.0.0.1' },
      ...{ baseUrl: publisher.url, lineupUrl: `${publisher.url}/lineup.json` },
    });
    expect(publisher.output).toContain(`discovery: HDHomeRun ${DeviceID} on port ${port} of 127.0.0.1`);
  });

  it('tells the address that is advertised', async () => {
    const port = await freePort();
    const flags = ['--discovery', 'on', '--discovery-port', String(port), '--advertise', 'http://tv.example:81/'];
    await using publisher = await publish(...flags);
    const [found] = await discover({ address: '127.0.0.1', port });
    expect(found).toMatchObject({ baseUrl: 'http://tv.example:81', lineupUrl: 'http://tv.example:81/lineup.json' });
    expect((await publisher.json('/lineup.json'))[0].URL).toBe('http://tv.example:81/auto/v5.1');
  });

  it('that is auto says that another program has the port, and the publisher serves', async () => {
    const port = await takenPort();
    await using publisher = await publish('--discovery', 'auto', '--discovery-port', String(port));
    expect(publisher.output).toContain(`discovery is off: port ${port} is taken by another program`);
    expect(publisher.warnings).toEqual([]);
    expect((await publisher.json('/discover.json')).TunerCount).toBe(2);
  });

  it.each(['auto', 'on'] as const)(
    'that is %s answers as soon as its port is free, and says once that it is not',
    async (discovery) => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const lines: string[] = [];
      const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
      const device = { deviceId: '1234ABC2', served: { deviceId: '1234ABC2', tunerCount: 2 } } as PublishedDevice;
      const config = { bind: '127.0.0.1', discovery, discoveryPort: port } as Config;
      await using presence = new Presence({ device, config: () => config, port: 80 }, log, 20);
      await presence.apply().catch((error: Error) => lines.push(error.message));
      await new Promise((resolve) => setTimeout(resolve, 100)); // some looks at a port that is taken
      expect(lines).toEqual([expect.stringContaining(`port ${port} is taken by another program`)]);
      await new Promise((resolve) => server.close(resolve));
      await eventually(() => expect(lines.at(-1)).toBe(`discovery: HDHomeRun 1234ABC2 on port ${port} of 127.0.0.1`));
      expect(await discover({ address: '127.0.0.1', port })).toMatchObject([{ deviceId: '1234ABC2' }]);
      expect(lines).toHaveLength(2);
    },
  );

  it('says that HTTP has its port, if that is so', async () => {
    const port = await takenPort();
    const device = { deviceId: '1234ABC2' } as PublishedDevice;
    const config = { bind: '127.0.0.1', discovery: 'on', discoveryPort: port } as Config;
    await using presence = new Presence({ device, config: () => config, port }, pino({ enabled: false }));
    await expect(presence.apply()).rejects.toThrow(
      `cannot answer discovery on 127.0.0.1: port ${port} is that of HTTP here (EADDRINUSE); choose another with --discovery-port`,
    );
  });

  it('that is on does not start without its port, and leaves nothing behind', async () => {
    const port = await takenPort();
    const flags = ['--port', '0', '--device', simulator.url, '--lock-dir', lockDir, '--discovery', 'on'];
    const publisher = new PublisherProcess([...flags, '--discovery-port', String(port)]);
    const { code, output } = await publisher.exited;
    expect(code).toBe(1);
    expect(output).toContain(
      `holdfast-publisher: cannot answer discovery on 127.0.0.1: port ${port} is taken by another program`,
    );
    expect(output).toMatch(/see --discovery/);
  });

  it('that is off answers nobody', async () => {
    const port = await freePort();
    await using publisher = await publish('--discovery', 'off', '--discovery-port', String(port));
    expect(await discover({ address: '127.0.0.1', port, timeoutMs: 100 })).toEqual([]);
    expect(publisher.output).not.toContain('discovery');
  });
});

describe('a reload', () => {
  it('moves discovery to another port, under another DeviceID and number of tuners, and ends it', async () => {
    const [before, after] = [await freePort(), await freePort()];
    const path = join(temporaryDirectory(), 'publisher.json');
    const write = (config: object) => writeFileSync(path, JSON.stringify({ device: [simulator.url], ...config }));
    const at = (port: number) => discover({ address: '127.0.0.1', port, timeoutMs: 400 });
    write({ discovery: 'on', discoveryPort: before });
    await using publisher = new PublisherProcess(['--port', '0', '--lock-dir', lockDir, '--config', path]);
    await publisher.says(/watch: /);
    await eventually(async () => expect(await at(before)).toHaveLength(1), patienceMs(5_000));
    using viewer = await Viewer.open(`${publisher.url}/auto/v5.1`);

    write({ discovery: 'on', discoveryPort: after, deviceId: '1234abc2', tunerCount: 3, friendlyName: 'Attic' });
    publisher.kill('SIGHUP');
    await eventually(
      async () => expect(await at(after)).toMatchObject([{ deviceId: '1234ABC2', tunerCount: 3 }]),
      patienceMs(5_000),
    );
    expect(await at(before)).toEqual([]);
    const described = { DeviceID: '1234ABC2', FriendlyName: 'Attic', TunerCount: 3 };
    expect(await publisher.json('/discover.json')).toMatchObject(described);

    const taken = await takenPort();
    write({ discovery: 'on', discoveryPort: taken });
    publisher.kill('SIGHUP');
    await publisher.says(/ERROR reload: cannot answer discovery on 127\.0\.0\.1: port \d+ is taken/);
    expect(await at(after)).toEqual([]);
    await viewer.more();
  });
});

describe('the control port', () => {
  it('tells what a channel that is watched does to its tuner, and has locks, but tunes nothing', async () => {
    const port = await freePort();
    await using publisher = await publish('--discovery', 'on', '--discovery-port', String(port));
    const get = (name: string) => getVariable('127.0.0.1', name, { port });
    const set = (name: string, value: string, lockKey?: number) =>
      setVariable('127.0.0.1', { name, value, lockKey }, { port });
    expect(await get('/sys/model')).toBe('hdhomeruntc_atsc');
    expect(await get('/sys/hwmodel')).toBe('HDTC-2US');
    expect(await get('/sys/version')).toMatch(/^\d{8}$/);
    expect(await get('/tuner0/status')).toBe('ch=none lock=none ss=0 snq=0 seq=0 bps=0 pps=0');
    expect(await get('/tuner1/streaminfo')).toBe('none');

    using viewer = await Viewer.open(`${publisher.url}/auto/v7.1`);
    await viewer.more();
    expect(await get('/tuner0/status')).toMatch(/^ch=auto:7\.1 lock=auto ss=100 snq=100 seq=100 bps=\d+ pps=\d+$/);
    expect(await get('/tuner0/channel')).toBe('auto:7.1');
    expect(await get('/tuner0/vchannel')).toBe('7.1');
    expect(await get('/tuner0/streaminfo')).toBe('1: 7.1 Granite Sport\n');
    expect(await get('/tuner0/target')).toBe('http://127.0.0.1');
    expect(await get('/tuner0/lockkey')).toBe('none');

    for (const name of ['channel', 'vchannel', 'target', 'streaminfo']) {
      await expect(set(`/tuner1/${name}`, '5.1')).rejects.toThrow(/ERROR: not here: open \/auto\/v<number> by HTTP/);
    }
    await expect(get('/tuner2/status')).rejects.toThrow(
      new ControlError('/tuner2/status', 'ERROR: unknown getset variable'),
    );
    await expect(set('/sys/model', 'x')).rejects.toThrow('ERROR: unknown getset variable');
    expect(await set('/tuner1/lockkey', '4711')).toBe('4711');
    const byOther = request(`${publisher.url}/tuner1/v5.1`, { localAddress: '127.0.0.2', agent: false }).end();
    const [refused] = await once(byOther, 'response');
    expect([refused.statusCode, refused.headers['x-hdhomerun-error']]).toEqual([503, '804 Tuner In Use']);
    refused.resume();
    const byOwner = await Viewer.open(`${publisher.url}/tuner1/v5.1`);
    expect(byOwner.status).toBe(200);
    byOwner.leave();
    await expect(set('/tuner1/lockkey', '1', 2)).rejects.toThrow('ERROR: resource locked by 127.0.0.1');
    expect(await set('/tuner1/lockkey', 'none', 4711)).toBe('none');
    expect(await get('/tuner1/lockkey')).toBe('none');
  });
});

describe.skipIf(!client)('the real hdhomerun_config', () => {
  const { path = '', env = {} } = client ?? {};
  const run = async (...args: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)(path, args, { env }).catch((failure) => failure);
    return stdout.trim();
  };

  it('discovers the publisher at its address, and gets and sets its variables', async () => {
    await using publisher = await publish('--bind', ownAddress, '--discovery', 'on');
    const { DeviceID } = await publisher.json('/discover.json');
    expect(await run('discover', ownAddress)).toBe(`hdhomerun device ${DeviceID} found at ${ownAddress}`);
    expect(await run(ownAddress, 'get', '/sys/model')).toBe('hdhomeruntc_atsc');
    expect(await run(ownAddress, 'get', 'help')).toContain('/tuner<n>/streaminfo');
    expect(await run(ownAddress, 'get', '/nope')).toBe('ERROR: unknown getset variable');
    using viewer = await Viewer.open(`${publisher.url}/tuner1/v5.1`);
    await viewer.more();
    expect(await run(ownAddress, 'get', '/tuner1/vchannel')).toBe('5.1');
    expect(await run(ownAddress, 'get', '/tuner1/status')).toMatch(/^ch=auto:5\.1 lock=auto ss=100/);
    expect(await run(ownAddress, 'set', '/tuner0/channel', 'auto:5')).toMatch(/^ERROR: not here: open \/auto/);
  });
});

describe.skipIf(!hasNamespaces())('on a network', () => {
  let network: TestNetwork;
  let server: TestHost;
  let player: TestHost;

  beforeAll(async () => {
    network = await testNetwork();
    [server, player] = network.hosts;
  });

  afterAll(() => network.end());

  /** A publisher on one host; it has a file, since it does not reach the simulator. */
  async function publishThere(...flags: readonly string[]): Promise<PublisherProcess> {
    const args = ['--source', 'film=/dev/zero', '--lock-dir', lockDir, '--discovery', 'on', ...flags];
    return await PublisherProcess.start(args, server.env);
  }

  const idOf = (publisher: PublisherProcess) => /HDHomeRun (\w{8}) on port/.exec(publisher.output)?.[1];

  it.skipIf(!client).each(['0.0.0.0', 'its address'])(
    'the real hdhomerun_config finds a publisher on another host by broadcast and by ID (bound to %s)',
    async (bind) => {
      await using publisher = await publishThere('--bind', bind === '0.0.0.0' ? bind : server.address);
      const [nsenter = '', ...enter] = player.wrapper;
      const run = async (...args: string[]): Promise<string> => {
        const all = [...enter, client?.path ?? '', ...args];
        const { stdout } = await promisify(execFile)(nsenter, all, { env: client?.env }).catch((failure) => failure);
        return stdout.trim();
      };
      const id = idOf(publisher) as string;
      expect(await run('discover')).toBe(`hdhomerun device ${id} found at ${server.address}`);
      expect(await run(id, 'get', '/sys/hwmodel')).toBe('HDTC-2US');
      expect(await run('1234ABC2', 'get', '/sys/hwmodel')).toBe('');
    },
  );

  it('one that is bound to loopback is found by nobody else', async () => {
    await using publisher = await publishThere();
    const found = startProgram(ASK_BY_BROADCAST, player.env);
    expect(await found.exit).toBe(0);
    expect(found.output()).toBe('[]\n');
    expect(publisher.output).toContain('of 127.0.0.1');
  });

  it('is announced by SSDP when it comes and when it goes, and answers who looks', async () => {
    const listener = startProgram(SSDP_LISTENER, player.env);
    onTestFinished(() => listener.kill());
    await listener.says(/listening/);
    const publisher = await publishThere('--bind', '0.0.0.0');
    const id = idOf(publisher) as string;
    const location = `LOCATION: http://${server.address}:${new URL(publisher.url).port}/device.xml`;
    await listener.says(/NTS: ssdp:alive/);
    await eventually(() => expect(listener.output().match(/NTS: ssdp:alive/g)).toHaveLength(3));
    expect(listener.output()).toContain(location);

    const asker = startProgram(SSDP_SEARCH, player.env);
    expect(await asker.exit).toBe(0);
    const answers = asker
      .output()
      .split('\r\n\r\n')
      .filter((answer) => answer.startsWith('HTTP/1.1 200 OK'));
    expect(answers.map((answer) => /^ST: (.*)$/m.exec(answer)?.[1])).toEqual(['upnp:rootdevice']);
    expect(answers[0]).toContain(location);
    expect(answers[0]).toContain(`USN: uuid:00000000-0000-1000-8000-0000${id.toLowerCase()}::upnp:rootdevice`);

    await publisher[Symbol.asyncDispose]();
    await eventually(() => expect(listener.output().match(/NTS: ssdp:byebye/g)).toHaveLength(3), patienceMs(5_000));
  });
});

const ASK_BY_BROADCAST = `
import { discover } from './examples/hdhomerun/index.ts';
console.log(JSON.stringify(await discover()));
`;

const SSDP_LISTENER = `
import { createSocket } from 'node:dgram';
const socket = createSocket({ type: 'udp4', reuseAddr: true });
socket.on('message', (message) => process.stdout.write(message));
socket.bind(1900, () => {
  socket.addMembership('239.255.255.250', '10.99.0.2');
  console.log('listening');
});
`;

/** Prints what comes of a search, until nothing more does. */
const SSDP_SEARCH = `
import { createSocket } from 'node:dgram';
const socket = createSocket('udp4');
const search = (target) =>
  ['M-SEARCH * HTTP/1.1', 'HOST: 239.255.255.250:1900', 'MAN: "ssdp:discover"', 'MX: 1', 'ST: ' + target, '', ''].join('\\r\\n');
socket.on('message', (message) => {
  process.stdout.write(message);
  setTimeout(() => socket.close(), 300);
});
socket.bind(0, '10.99.0.2', () => {
  socket.setMulticastInterface('10.99.0.2');
  socket.send(search('urn:schemas-upnp-org:device:Printer:1'), 1900, '239.255.255.250');
  socket.send(search('upnp:rootdevice'), 1900, '239.255.255.250');
});
`;
