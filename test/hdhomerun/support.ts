import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { onTestFinished } from 'vitest';
import { HdhomerunSimulator, type SimulatorOptions } from '../../examples/hdhomerun/index.ts';

/** A simulator that is closed after the test. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<HdhomerunSimulator> {
  const simulator = await HdhomerunSimulator.start({ size: { width: 160, height: 90 }, ...options });
  onTestFinished(() => simulator.close());
  return simulator;
}

/** Something that answers HTTP and need not be a device; its URL. */
export async function startServer(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Collects until this many bytes are here, or the stream ends. */
export async function read(stream: Readable, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= bytes) break;
  }
  return Buffer.concat(chunks);
}

/** Collects what comes within this time, or until the stream ends. */
export async function readFor(stream: Readable, durationMs: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const timer = setTimeout(() => stream.destroy(), durationMs);
  await once(stream, 'close').catch(() => {});
  clearTimeout(timer);
  return Buffer.concat(chunks);
}
