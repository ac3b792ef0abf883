import type { Subscription } from 'holdfast';
import type { Profile } from '../config/schema.ts';
import type { Channel } from './channel.ts';

/** The stream of a channel in a profile, for who turns it into something else and can do without what it is too slow for. */
export function subscribeTo(
  channel: Channel,
  profile: Profile,
  signal: AbortSignal,
): Subscription & AsyncIterable<Buffer> {
  if (profile === 'copy') return channel.feed(signal);
  return channel.rendition(profile).subscribe({ signal, onLag: 'skip' });
}
