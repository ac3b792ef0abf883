import type { ServerResponse } from 'node:http';
import type { Channel } from '../channel/channel.ts';
import { failureOf } from '../failure.ts';
import { sendFailure } from './responses.ts';

/** Gives a viewer the channel until one of them ends; before the first byte a failure can still be told. */
export async function streamChannel(response: ServerResponse, channel: Channel): Promise<void> {
  const { refused } = channel;
  if (refused) {
    sendFailure(response, channel.entry.id, refused);
    return;
  }
  response.setHeader('Content-Type', 'video/mp2t');
  response.setHeader('Cache-Control', 'no-store');
  const { error } = await channel.watch(response).ended;
  if (error !== undefined && !response.headersSent && !response.destroyed) {
    sendFailure(response, channel.entry.id, failureOf(error));
  }
}
