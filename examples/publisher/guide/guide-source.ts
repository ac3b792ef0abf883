/** What a source said of a document, to be told again when it is asked for a newer one. */
export interface Validators {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

export interface Pulled extends Validators {
  /** XMLTV as it comes, packed or not. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** Where a guide comes from. */
export interface GuideSource {
  /** For people; no credential is in it. */
  readonly name: string;
  /** Tells it from all others, over a restart too; what is kept of it is found by this. */
  readonly key: string;
  /** For what it asks, if that may change: what was kept of it stays then, and it is pulled at once. */
  readonly asks?: string | undefined;
  /**
   * The document as it is now; `undefined` if it is the one that the validators are of. An error says that it can't be had.
   * The signal ends the reading of it too.
   */
  pull(before: Validators, signal: AbortSignal): Promise<Pulled | undefined>;
  /** How long a document is good for; asked after each pull that succeeded. */
  nextPullMs(): number;
}
