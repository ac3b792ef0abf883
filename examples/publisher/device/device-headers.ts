import type { ServerResponse } from 'node:http';

/** What a device says with every answer. Its documents may be read by any page, as those of real ones. */
export function asDevice(response: ServerResponse): void {
  response.setHeader('Server', 'HDHomeRun/1.0');
  response.setHeader('Connection', 'close');
  response.setHeader('Access-Control-Allow-Origin', '*');
}
