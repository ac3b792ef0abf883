import { hostname } from 'node:os';
import type { Config } from './config/config.ts';
import { channelPath } from './http/views.ts';

/** What addresses that are given out begin with. Who listens on every address of the host is reached by its name. */
export function baseUrlOf({ advertise, bind }: Config, served = 'http://localhost/'): string {
  if (advertise !== undefined) return advertise;
  const url = new URL(served);
  if (bind === '0.0.0.0' || bind === '::') url.hostname = hostname();
  return url.href;
}

/** What whoever reaches it over the network may do. */
export function whoMay({ operatorToken }: Config): string {
  const change = operatorToken === undefined ? 'nobody (there is no --operator-token)' : 'who has the operator token';
  return `whoever reaches it may watch, and ${change} may restart and stop channels`;
}

/** Lines for who has just started it. */
export function howToWatch(id: string, served: string): readonly string[] {
  const address = new URL(channelPath(id), served).href;
  return [`watch: ffplay ${address}`, `       or in VLC: Media, Open Network Stream, ${address}`];
}
