/** The id that each channel was given, by the own id of its offers. */
export interface ChannelIds {
  get(own: string): string | undefined;
  remember(ids: ReadonlyMap<string, string>): void;
}

/** They are forgotten with the process. */
export function idsInMemory(): ChannelIds {
  const byOwn = new Map<string, string>();
  return {
    get: (own) => byOwn.get(own),
    remember: (ids) => {
      for (const [own, id] of ids) byOwn.set(own, id);
    },
  };
}
