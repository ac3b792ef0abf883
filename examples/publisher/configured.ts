import type { Config } from './config.ts';
import type { ChannelProvider, Offer } from './directory.ts';

/** The sources named in the configuration or by `--source`. */
export function configuredSources(source: Config['source']): ChannelProvider {
  const offers = Object.entries(source).map(
    ([id, { url, name = id, number = null }]): Offer => ({ ids: [id], name, number, url }),
  );
  return { name: 'configuration', offers: async () => offers };
}
