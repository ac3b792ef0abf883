import type { Logger } from '../log.ts';
import type { EncodedProfile } from './profiles.ts';
import { Rendition, type RenditionSettings, type RenditionSource } from './rendition.ts';

/** The renditions of a channel, each made when it is asked for the first time. Nothing runs for one that nobody watches. */
export class Renditions implements AsyncDisposable {
  readonly #source: RenditionSource;
  readonly #settings: RenditionSettings;
  readonly #log: Logger;
  readonly #byProfile = new Map<EncodedProfile, Rendition>();

  constructor(source: RenditionSource, settings: RenditionSettings, log: Logger) {
    this.#source = source;
    this.#settings = settings;
    this.#log = log;
  }

  get(profile: EncodedProfile): Rendition {
    const made = this.#byProfile.get(profile);
    if (made) return made;
    const rendition = new Rendition(profile, this.#source, this.#settings, this.#log);
    this.#byProfile.set(profile, rendition);
    return rendition;
  }

  /** Those that were asked for so far. */
  [Symbol.iterator](): IterableIterator<Rendition> {
    return this.#byProfile.values();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#byProfile.values()].map((rendition) => rendition[Symbol.asyncDispose]()));
  }
}
