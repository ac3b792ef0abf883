import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  ControlError,
  DeviceUnreachableError,
  DiscoveryResponder,
  discover,
  getVariable,
  setVariable,
} from '../../examples/hdhomerun/index.ts';
import { decodeDiscoverReply, encodeDiscoverRequest } from '../../examples/hdhomerun/messages.ts';
import { decodeFrame } from '../../examples/hdhomerun/packet.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { startSimulator } from './support.ts';

async function startResponder(bind = '127.0.0.1', deviceId = '1234ABC2'): Promise<DiscoveryResponder> {
  const describe = () => ({ deviceType: 1, deviceId, baseUrl: 'http://127.0.0.1', tunerCount: 2 });
  const responder = await DiscoveryResponder.start({ address: bind, port: 0, describe });
  onTestFinished(() => responder[Symbol.asyncDispose]());
  return responder;
}

describe('discovery', () => {
  test('a device is found by its address, by its ID, and by both', async () => {
    const { port } = await startResponder();
    const found = [expect.objectContaining({ deviceId: '1234ABC2', address: '127.0.0.1', tunerCount: 2 })];
    expect(await discover({ address: '127.0.0.1', port })).toEqual(found);
    expect(await discover({ address: '127.0.0.1', port, deviceId: '1234abc2' })).toEqual(found);
  });

  test('a broadcast reaches a responder that is bound to all addresses', async () => {
    const { port } = await startResponder('0.0.0.0');
    const sender = createSocket('udp4').bind(0, '127.0.0.1');
    onTestFinished(() => void sender.close());
    await once(sender, 'listening');
    sender.setBroadcast(true);
    sender.send(encodeDiscoverRequest({}), port, '127.255.255.255');
    const [datagram] = await once(sender, 'message');
    expect(decodeDiscoverReply(decodeFrame(datagram)).deviceId).toBe('1234ABC2');
  });

  test('the client leaves out devices that it did not ask for, since devices answer every request', async () => {
    const { port } = await startResponder();
    expect(await discover({ address: '127.0.0.1', port, deviceId: '105404BE', timeoutMs: 60 })).toEqual([]);
  });

  test('one who looks for another type is told all types of the device', async () => {
    const { port } = await startResponder();
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    onTestFinished(() => void socket.close());
    socket.send(encodeDiscoverRequest({ deviceType: 5 }), port, '127.0.0.1');
    const [datagram] = await once(socket, 'message');
    expect(decodeDiscoverReply(decodeFrame(datagram)).deviceTypes).toEqual([1]);
  });

  test('a second request goes out when the first was lost', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    onTestFinished(() => void socket.close());
    let requests = 0;
    socket.on('message', () => (requests += 1));
    expect(await discover({ address: '127.0.0.1', port: socket.address().port })).toEqual([]);
    expect(requests).toBe(2);
  });

  test('rubbish is neither answered nor taken for a device, and does no harm', async () => {
    const { port } = await startResponder();
    const socket = createSocket('udp4');
    onTestFinished(() => void socket.close());
    for (const rubbish of ['', 'x', '\0\x02\0\x0c', 'GET / HTTP/1.1\r\n\r\n']) socket.send(rubbish, port, '127.0.0.1');
    expect(await discover({ address: '127.0.0.1', port })).toHaveLength(1);

    const liar = createSocket('udp4').bind(0, '127.0.0.1');
    await once(liar, 'listening');
    onTestFinished(() => void liar.close());
    liar.on('message', (_datagram, peer) => liar.send('rubbish', peer.port, peer.address));
    expect(await discover({ address: '127.0.0.1', port: liar.address().port, timeoutMs: 60 })).toEqual([]);
  });

  test('a name that does not exist is unreachable', async () => {
    await expect(discover({ address: 'no-such-host.invalid' })).rejects.toThrow(DeviceUnreachableError);
  });

  test('an abort rejects with its reason', async () => {
    const reason = new Error('no longer wanted');
    const waiting = discover({ address: '127.0.0.1', port: await freePort(), signal: AbortSignal.abort(reason) });
    await expect(waiting).rejects.toBe(reason);
    const controller = new AbortController();
    const started = discover({ address: '127.0.0.1', port: await freePort(), signal: controller.signal });
    controller.abort(reason);
    await expect(started).rejects.toBe(reason);
  });
});

describe('control', () => {
  test('the variables of the device and its tuners can be read', async () => {
    const simulator = await startSimulator({ discoveryPort: 0 });
    const get = (name: string) => getVariable('127.0.0.1', name, { port: simulator.discoveryPort });
    expect(await get('/sys/model')).toBe('hdhomerun4_atsc');
    expect(await get('/sys/hwmodel')).toBe('HDHR4-2US');
    expect(await get('/sys/version')).toMatch(/^\d{8}$/);
    expect(await get('/sys/features')).toContain('modulation:');
    expect(await get('/tuner0/status')).toBe('ch=none lock=none ss=0 snq=0 seq=0 bps=0 pps=0');
    for (const name of ['channel', 'vchannel', 'lockkey', 'target']) expect(await get(`/tuner1/${name}`)).toBe('none');
    expect(await get('/lineup/scan')).toBe('state=complete');
    expect(await get('help')).toContain('/tuner<n>/status');
  });

  test.each(['/nope', '/tuner2/status', '/tuner0/nope'])(
    '%s is refused with the words of a real device',
    async (name) => {
      const simulator = await startSimulator({ discoveryPort: 0 });
      const refused = getVariable('127.0.0.1', name, { port: simulator.discoveryPort });
      await expect(refused).rejects.toThrow(new ControlError(name, 'ERROR: unknown getset variable'));
    },
  );

  test('a tuner that is locked over this port is in use until its key unlocks it', async () => {
    const simulator = await startSimulator({ discoveryPort: 0 });
    const options = { port: simulator.discoveryPort };
    const lock = (value: string, lockKey?: number) =>
      setVariable('127.0.0.1', { name: '/tuner0/lockkey', value, lockKey }, options);
    await lock('1234');
    expect(simulator.tuners()[0]?.holder).toMatchObject({ address: '127.0.0.1', lockKey: 1234 });
    await expect(lock('5678')).rejects.toThrow('ERROR: resource locked by 127.0.0.1');
    await lock('none', 1234);
    expect(simulator.tuners()[0]?.holder).toBeUndefined();
    await lock('1234');
    await lock('force');
    expect(simulator.tuners()[0]?.holder).toBeUndefined();
  });

  test('a scan can be started, watched and aborted', async () => {
    const simulator = await startSimulator({ discoveryPort: 0 });
    const scan = (value: string) =>
      setVariable('127.0.0.1', { name: '/lineup/scan', value }, { port: simulator.discoveryPort });
    expect(await scan('start')).toMatch(/^state=running progress=\d+$/);
    expect(await scan('abort')).toBe('state=complete');
    await expect(scan('sideways')).rejects.toThrow('ERROR: invalid value');
  });

  test('a peer that sends rubbish is disconnected and the others are served on', async () => {
    const simulator = await startSimulator({ discoveryPort: 0 });
    const socket = connect(simulator.discoveryPort as number, '127.0.0.1').on('error', () => {});
    socket.resume().write('GET / HTTP/1.1\r\n\r\n');
    await once(socket, 'close');
    expect(await getVariable('127.0.0.1', '/sys/model', { port: simulator.discoveryPort })).toBe('hdhomerun4_atsc');
  });

  test('a device that refuses the connection or stays silent is unreachable, and an abort rejects with its reason', async () => {
    const refused = getVariable('127.0.0.1', '/sys/model', { port: await freePort() });
    await expect(refused).rejects.toThrow(DeviceUnreachableError);
    const server = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const silent = getVariable('127.0.0.1', '/sys/model', { port, timeoutMs: 50 });
    await expect(silent).rejects.toThrow('no answer to /sys/model within 50 ms');
    const reason = new Error('no longer wanted');
    const aborted = getVariable('127.0.0.1', '/sys/model', { signal: AbortSignal.abort(reason) });
    await expect(aborted).rejects.toBe(reason);
  });

  test('closing the simulator closes its ports, also under connected clients', async () => {
    const simulator = await startSimulator({ discoveryPort: 0 });
    const port = simulator.discoveryPort as number;
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    await once(socket, 'connect');
    await simulator.close();
    await eventually(() => expect(socket.destroyed || socket.readableEnded || socket.closed).toBe(true));
    await expect(getVariable('127.0.0.1', 'help', { port })).rejects.toThrow(DeviceUnreachableError);
  });
});
