import { join } from 'node:path';
import { redactCredentials } from 'holdfast';
import type { Logger } from '../log.ts';
import { GuideError } from './errors.ts';
import { removeOthers, removeTemporary } from './guide-files.ts';
import type { KeptGuide } from './guide-intake.ts';
import { type GuideSubject, type Listed, type MergedGuide, mergeGuides } from './guide-merge.ts';
import { GuidePull, idOf, type PullListener, type PullTimes } from './guide-pull.ts';
import { GuideRecords } from './guide-records.ts';
import type { GuideSource } from './guide-source.ts';
import { type GuideDocument, ServedGuide } from './served-guide.ts';

export interface GuideOptions {
  /** The directory that its files are kept in. */
  readonly dir: string;
  readonly log: Logger;
  /** The channels that it is for, as they are now. */
  readonly subjects: () => readonly GuideSubject[];
  readonly onPullFailed?: ((source: string) => void) | undefined;
  readonly times?: GuideTimes | undefined;
}

interface GuideTimes extends PullTimes {
  /**
   * Devices tell of their channels one after the other: they are waited for before a guide is made anew.
   * @default 500 ms
   */
  readonly settleMs?: number | undefined;
}

/** What is over is taken out so often. */
const TIDY_MS = 3_600_000;

/**
 * The guide of our channels, merged from all sources, in memory and on the disk. What a source gave last stays until it is
 * over, whatever the next pull brings; a failure costs nothing but news.
 */
export class Guide implements AsyncDisposable, PullListener {
  readonly #options: GuideOptions;
  readonly #served: ServedGuide;
  readonly #records: GuideRecords;
  readonly #said = new Map<string, string>();
  readonly #tidying: NodeJS.Timeout;
  /** Once what was kept of it was looked for. */
  readonly #isRead = Promise.withResolvers<void>();
  readonly #started = Promise.withResolvers<void>();
  #pulls: readonly GuidePull[] = [];
  #merged: MergedGuide | undefined;
  /** By which it is seen whether the channels are others. */
  #subjects = '';
  #settling: NodeJS.Timeout | undefined;
  #merging: Promise<void> | undefined;
  #isStale = false;
  /** Once what was kept of all sources is known: a guide that was made before would lack it. */
  #isReady = false;
  /** One change of the sources after the other. */
  #turn: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(options: GuideOptions) {
    this.#options = options;
    this.#served = new ServedGuide(join(options.dir, 'guide.xml.gz'), options.log);
    this.#records = new GuideRecords(options.dir, options.log);
    this.#tidying = setInterval(() => this.changed(), TIDY_MS);
    this.#tidying.unref();
  }

  /** Serves at once what was kept; resolves when all that was kept is known. Pulls go on after that. */
  start(sources: readonly GuideSource[]): Promise<void> {
    return this.#inTurn(async () => {
      await removeTemporary(this.#options.dir);
      await this.#served.read();
      this.#isRead.resolve();
      await this.#replaceSources(sources);
      this.#isReady = true;
      this.#started.resolve();
      this.changed();
    });
  }

  /** From now on these, the dearest first. One that was there before, and asks for the same, goes on as it is. */
  setSources(sources: readonly GuideSource[]): Promise<void> {
    return this.#inTurn(() => this.#replaceSources(sources));
  }

  /**
   * The newest; of a first start, when it is made.
   *
   * @throws GuideError if there is none.
   */
  async document(): Promise<GuideDocument> {
    await this.#isRead.promise;
    if (!this.#served.document) await this.#started.promise;
    if (!this.#served.document) await this.#merge();
    if (!this.#served.document) throw new GuideError('the guide is not made yet');
    return this.#served.document;
  }

  /** What is on now on a channel of ours, and what after that. */
  nowAndNext(id: string, nowMs: number = Date.now()): { now: Listed | undefined; next: Listed | undefined } {
    const all = this.#merged?.listed.get(id) ?? [];
    const at = all.findIndex(({ stopMs }) => stopMs > nowMs);
    const [first, second] = at < 0 ? [] : all.slice(at, at + 2);
    return first && first.startMs > nowMs ? { now: undefined, next: first } : { now: first, next: second };
  }

  /** For metrics: how many programmes it has, and how old the document of each source is. */
  get state(): { programmes: number; ages: ReadonlyMap<string, number> } {
    const ages = this.#pulls.flatMap(({ source, pulledAt }): [string, number][] =>
      pulledAt === undefined ? [] : [[source.name, (Date.now() - pulledAt) / 1_000]],
    );
    return { programmes: this.#merged?.programmes ?? 0, ages: new Map(ages) };
  }

  /** To be told whenever our channels may be others. */
  subjectsChanged(): void {
    const subjects = JSON.stringify(this.#options.subjects());
    if (subjects !== this.#subjects) this.changed();
    this.#subjects = subjects;
  }

  changed(): void {
    if (!this.#isReady || this.#closing.signal.aborted || this.#settling) return;
    const { settleMs = 500 } = this.#options.times ?? {};
    this.#settling = setTimeout(() => {
      this.#settling = undefined;
      void this.#merge();
    }, settleMs);
    this.#settling.unref();
  }

  pulled(source: GuideSource, { programmes, channels }: KeptGuide): void {
    this.#say(source, 'info', `guide ${source.name}: ${programmes} programmes of ${channels.length} channels`);
  }

  failed(source: GuideSource, error: unknown, retryAfterMs: number): void {
    this.#options.onPullFailed?.(source.name);
    const why = redactCredentials(error instanceof Error ? error.message : String(error));
    const kept = this.#pulls.find((pull) => pull.source === source)?.kept;
    const consequence = kept ? `the ${kept.programmes} programmes it had stay` : 'it has given nothing yet';
    const retry = `trying again in ${Math.ceil(retryAfterMs / 1_000)} s, later at longer intervals`;
    this.#say(source, 'warn', `guide ${source.name}: ${why}; ${consequence}`, `; ${retry}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new GuideError('the guide is closed'));
    this.#isRead.resolve();
    this.#started.resolve();
    clearInterval(this.#tidying);
    clearTimeout(this.#settling);
    await Promise.all(this.#pulls.map(end));
    await this.#turn;
    await this.#merging;
    await this.#records.settled();
  }

  #inTurn(change: () => Promise<void>): Promise<void> {
    const changed = this.#turn.then(change);
    this.#turn = changed.catch(() => {});
    return changed;
  }

  async #replaceSources(sources: readonly GuideSource[]): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const before = new Map(this.#pulls.map((pull) => [pull.source.key, pull]));
    const { dir, log, times } = this.#options;
    const around = { dir, log, records: this.#records, listener: this };
    this.#pulls = sources.map((source) => {
      const pull = before.get(source.key);
      return pull && pull.source.asks === source.asks ? pull : new GuidePull(source, around, times);
    });
    await Promise.all([...before.values()].filter((pull) => !this.#pulls.includes(pull)).map(end));
    const ids = new Set(sources.map(idOf));
    this.#records.keepOnly(ids);
    await removeOthers(dir, ids);
    const added = this.#pulls.filter((pull) => before.get(pull.source.key) !== pull);
    await Promise.all(added.map((pull) => pull.start(before.get(pull.source.key)?.kept)));
    this.changed();
  }

  /** One at a time; what changes meanwhile is merged after it. */
  #merge(): Promise<void> {
    this.#isStale = true;
    this.#merging ??= this.#mergeAll().finally(() => {
      this.#merging = undefined;
    });
    return this.#merging;
  }

  async #mergeAll(): Promise<void> {
    while (this.#isStale && !this.#closing.signal.aborted) {
      this.#isStale = false;
      try {
        await this.#mergeOnce();
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        this.#options.log.error(`the guide could not be made, it stays as it was: ${(error as Error).message}`);
      }
    }
  }

  async #mergeOnce(): Promise<void> {
    const subjects = this.#options.subjects();
    const sources = this.#pulls.flatMap(({ kept }) => kept ?? []);
    // Before the devices are heard of there is nothing to make a guide of; what was kept is better.
    if (subjects.length === 0 && this.#served.document) return;
    const merged = await this.#mergeOf(subjects, sources);
    this.#merged = merged;
    const isNews = await this.#served.replace(merged.gzip);
    if (!isNews || sources.length === 0) return;
    const withProgrammes = [...merged.listed.values()].filter(({ length }) => length > 0).length;
    this.#options.log.info(
      `guide: ${merged.programmes} programmes for ${withProgrammes} of ${subjects.length} channels`,
    );
  }

  /** As long as a source has given nothing, what is served fills the rest: nobody says that it is wrong. */
  async #mergeOf(subjects: readonly GuideSubject[], sources: readonly KeptGuide[]): Promise<MergedGuide> {
    const options = { nowMs: Date.now(), signal: this.#closing.signal };
    const before = sources.length < this.#pulls.length ? this.#served.document?.gzip : undefined;
    if (!before) return await mergeGuides(subjects, sources, options);
    try {
      return await mergeGuides(subjects, sources, { ...options, before });
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      this.#options.log.warn(
        `${this.#served.path} can't be gone on with: ${(error as Error).message}; it is made anew`,
      );
      return await mergeGuides(subjects, sources, options);
    }
  }

  /** What was said last of a source is not said again; `more` does not count. */
  #say({ key }: GuideSource, level: 'info' | 'warn', news: string, more = ''): void {
    if (this.#said.get(key) === news) return;
    this.#said.set(key, news);
    this.#options.log[level](news + more);
  }
}

function end(pull: GuidePull): PromiseLike<void> {
  return pull[Symbol.asyncDispose]();
}
