import type { Channel } from '../channel/channel.ts';
import type { Profile } from '../config/schema.ts';
import { failureOf } from '../failure.ts';
import { sendFailure } from './responses.ts';
import type { Exchange } from './router.ts';
import { isRefused, type Viewers } from './viewers.ts';

/** What is watched, and who counts those who do. */
export interface StreamDesk {
  readonly channel: Channel;
  readonly viewers: Viewers;
  /** @default that of the channel */
  readonly profile?: Profile | undefined;
}

/** Gives a viewer the channel until one of them ends; before the first byte a failure can still be told. */
export async function streamChannel({ response, client }: Exchange, desk: StreamDesk): Promise<void> {
  const { channel, viewers, profile = channel.entry.profile ?? 'copy' } = desk;
  const watched = profile === 'copy' ? channel : channel.renditions.get(profile);
  const place = channel.relay.follow(response) ?? watched.refused ?? viewers.admit(client, channel.entry.id);
  if (isRefused(place)) {
    sendFailure(response, channel.entry.id, place);
    return;
  }
  using _place = place;
  response.setHeader('Content-Type', 'video/mp2t');
  response.setHeader('Cache-Control', 'no-store');
  const { error } = await watched.watch(response).ended;
  if (error !== undefined && !response.headersSent && !response.destroyed) {
    sendFailure(response, channel.entry.id, failureOf(error));
  }
}
