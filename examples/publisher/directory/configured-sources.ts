import { accessSync, constants } from 'node:fs';
import type { Config } from '../config/config.ts';
import { filePath } from '../source-address.ts';
import type { ChannelProvider, Offer, Source } from './directory.ts';

/** The sources named in the configuration or by `--source`. */
export function configuredSources(source: Config['source']): ChannelProvider {
  const offers = Object.entries(source).map(
    ([id, { url, name = id, number = null }]): Offer => ({
      ids: [id],
      name,
      number,
      sources: url.map((url) => ({ url })) as [Source, ...Source[]],
    }),
  );
  const key = `configuration:${JSON.stringify(source)}`;
  return { name: 'configuration', key, kind: 'configured', initial: offers, offers: async () => offers };
}

/** A complaint for each file that can't be read now. It may come later, so that is no reason not to start. */
export function unreadableFiles(source: Config['source']): string[] {
  return Object.entries(source).flatMap(([id, { url }]) => {
    return url.flatMap((each) => {
      const path = filePath(each);
      const why = path === undefined ? undefined : unreadable(path);
      return why === undefined ? [] : [`source ${id}: ${path} ${why}; its viewers are refused until it can be read`];
    });
  });
}

function unreadable(path: string): string | undefined {
  try {
    accessSync(path, constants.R_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? 'does not exist (ENOENT)' : `can't be read (${code})`;
  }
}
