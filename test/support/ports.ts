import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/** Below the ports that the kernel gives to who asks for any, which all tests do all the time. */
const [FIRST, END] = [20_000, 32_000];

/** A port of 127.0.0.1 that is free, by TCP and UDP, and that nobody else is given by the kernel meanwhile. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, END);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  return (
    (await canBind(createServer().listen(port, '127.0.0.1'))) && canBind(createSocket('udp4').bind(port, '127.0.0.1'))
  );
}

async function canBind(bound: Server | Socket): Promise<boolean> {
  try {
    await once(bound, 'listening');
  } catch {
    return false;
  }
  bound.close();
  await once(bound, 'close');
  return true;
}
