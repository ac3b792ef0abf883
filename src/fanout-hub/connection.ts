import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Who waits on a connection, by it: one listener on each, however many requests a client sends at once. */
const waiting = new WeakMap<Socket, Set<() => void>>();

/**
 * Tells when the connection of a response that waits behind others on it is gone: the response may not say so itself
 * (nodejs/node#62534). Nothing to do for one that has its socket.
 *
 * @returns to be called when it is no longer of interest
 */
export function watchConnection({ socket: own, req }: ServerResponse, onGone: () => void): () => void {
  const socket = own ? undefined : (req?.socket as Socket | undefined);
  if (!socket) return () => {};
  if (socket.destroyed) onGone();
  const those = waiting.get(socket) ?? listen(socket);
  those.add(onGone);
  return () => those.delete(onGone);
}

function listen(socket: Socket): Set<() => void> {
  const those = new Set<() => void>();
  waiting.set(socket, those);
  socket.once('close', () => {
    for (const onGone of [...those]) onGone();
  });
  return those;
}
