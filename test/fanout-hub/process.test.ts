import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { ChildExitError } from '../../src/errors.ts';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { Subscription } from '../../src/fanout-hub/subscription.ts';
import { ManagedChild } from '../../src/managed-child/managed-child.ts';
import { eventually } from '../support/eventually.ts';
import { childHandle, numbered, RawClient, ScriptedSource, Sponge, serve, sha256 } from './support.ts';

const descriptors = () => readdirSync('/proc/self/fd').length;

function isGone(pid: number | undefined): boolean {
  try {
    process.kill(pid ?? 0, 0);
    return false;
  } catch {
    return true;
  }
}

describe('a child as the source', () => {
  test('after the last viewer the child is gone before the hub is idle', async () => {
    const pids: (number | undefined)[] = [];
    await using hub = new FanoutHub({
      source: ({ signal }) => {
        const handle = childHandle('setInterval(() => process.stdout.write("x"), 5)', signal);
        pids.push(handle.child.pid);
        return handle;
      },
    });
    for (let viewing = 0; viewing < 2; viewing++) {
      const subscription = hub.pipe(new Sponge());
      await subscription.live;
      expect(isGone(pids.at(-1))).toBe(false);
      await subscription[Symbol.asyncDispose]();
      await eventually(() => expect(hub.state).toBe('idle'));
      expect(isGone(pids.at(-1))).toBe(true);
    }
    expect(new Set(pids).size).toBe(2);
  });

  test('its whole output is delivered before its end, and exit code 0 is a clean one', async () => {
    const script = 'for (let i = 0; i < 200; i++) process.stdout.write(Buffer.alloc(10_000, i))';
    await using hub = new FanoutHub({ source: ({ signal }) => childHandle(script, signal) });
    const sponge = new Sponge();
    const { ended } = hub.pipe(sponge);
    expect(await ended).toEqual({ reason: 'source-ended', deliveredBytes: 2_000_000, skippedBytes: 0 });
    const expected = Buffer.concat(Array.from({ length: 200 }, (_, i) => Buffer.alloc(10_000, i)));
    expect(sha256(Buffer.concat(sponge.chunks))).toBe(sha256(expected));
  });

  test('its failure is told with the last words on stderr, after all of its bytes', async () => {
    const script = 'process.stdout.write("some bytes", () => { console.error("tuner lost"); process.exit(3) })';
    await using hub = new FanoutHub({ source: ({ signal }) => childHandle(script, signal), sliceMs: 0 });
    const sponge = new Sponge();
    const { reason, deliveredBytes, error } = await hub.pipe(sponge).ended;
    expect([reason, deliveredBytes]).toEqual(['source-failed', 10]);
    expect(error).toBeInstanceOf(ChildExitError);
    expect(String(error)).toMatch(/exit code 3.*tuner lost/s);
  });

  test('one that ends without a byte fails with its exit, even with code 0', async () => {
    const source = ({ signal }: { signal: AbortSignal }) => childHandle('console.error("nothing to play")', signal);
    await using hub = new FanoutHub({ source });
    const { reason, error } = await hub.pipe(new Sponge()).ended;
    expect(reason).toBe('source-failed');
    expect(String(error)).toMatch(/exit code 0.*nothing to play/s);
  });

  test('its failure is told before all that it started is gone, if that takes long', async () => {
    const script = "trap '' TERM; sleep 300 >/dev/null 2>&1 & echo hi; exit 3";
    await using hub = new FanoutHub({
      source: ({ signal }) => ManagedChild.spawn('sh', ['-c', script], { signal, graceMs: 4_000 }),
    });
    const { reason, error } = await hub.pipe(new Sponge()).ended;
    expect([reason, hub.state]).toEqual(['source-failed', 'closing']);
    expect(error).toMatchObject({ name: 'ChildExitError', exit: { code: 3 } });
  });
});

test('a thousand openings leave no descriptor, no socket and no listener behind', async () => {
  await using hub = new FanoutHub({
    source: ({ signal }) => {
      const stream = new PassThrough();
      stream.write(numbered(0, 1000));
      signal.addEventListener('abort', () => stream.destroy(), { once: true });
      return stream;
    },
  });
  const lasting = new Sponge();
  const stop = new AbortController();
  let subscription: Subscription | undefined;
  await using server = await serve((_request, response) => {
    hub.pipe(response);
    subscription = hub.pipe(lasting, { signal: stop.signal });
  });
  const cycle = async () => {
    const client = new RawClient(server.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    while (client.body.length < 1000) await once(client.socket, 'data');
    const idle = new Promise<void>((resolve) => hub.once('idle', resolve));
    await subscription?.[Symbol.asyncDispose]();
    client.socket.destroy();
    await Promise.all([idle, client.closed]);
  };
  await cycle();
  const listeners = () => lasting.eventNames().map((name) => [name, lasting.listenerCount(name)]);
  const before = { descriptors: descriptors(), listeners: listeners() };
  for (let i = 1; i < 1_000; i++) await cycle();
  await eventually(() => expect(descriptors()).toBeLessThanOrEqual(before.descriptors));
  expect(listeners()).toEqual(before.listeners);
  expect(hub.stats()).toMatchObject({ openings: 1_000, subscribers: 0, failures: 0 });
});

test('a child is opened and closed twenty times without a descriptor left', async () => {
  await using hub = new FanoutHub({
    source: ({ signal }) => childHandle('setInterval(() => process.stdout.write("x"), 5)', signal),
  });
  const cycle = async () => {
    const subscription = hub.pipe(new Sponge());
    await subscription.live;
    await subscription[Symbol.asyncDispose]();
    await eventually(() => expect(hub.state).toBe('idle'));
  };
  await cycle();
  const before = descriptors();
  for (let i = 0; i < 20; i++) await cycle();
  await eventually(() => expect(descriptors()).toBeLessThanOrEqual(before));
});

test('a destination that the hub ended has none of its listeners once it is closed', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open });
  const sponge = new Sponge();
  const before = sponge.eventNames();
  const { ended } = hub.pipe(sponge);
  source.stream.end('x');
  await ended;
  await eventually(() => expect(sponge.closed).toBe(true));
  expect(sponge.eventNames()).toEqual(before);
});
