import { ChildExitError, type FanoutHub, ManagedChild, type Subscription } from 'holdfast';
import { feed } from '../pipeline/feed.ts';
import { isToldToEnd } from '../pipeline/told-to-end.ts';
import { TrackWatch } from '../pipeline/track-watch.ts';

/** `tracks`: the channel goes on with others, for which it is to begin anew. `outside`: somebody told ffmpeg to end. */
export type SendingEnd = 'closed' | 'tracks' | 'outside';

export interface SendingTerms {
  readonly ffmpeg: string;
  /** The arguments of ffmpeg, with where it sends to. */
  readonly args: readonly string[];
  readonly hub: FanoutHub;
  readonly signal: AbortSignal;
  /** What holds now. */
  readonly limits: { readonly startTimeoutMs: number; readonly stallTimeoutMs: number };
  /** Told of how many more bytes were sent. */
  readonly sent: (bytes: number) => void;
}

/** From the request to end to the kill: a peer is told that the stream is over. */
const GRACE_MS = 500;
const LOOK_MS = 250;

/**
 * Sends a stream with one ffmpeg. Resolves when that has to end and has not failed; rejects with what it fails by: its own
 * end, that of the stream, or a peer that takes nothing.
 */
export async function send(
  subscription: Subscription & AsyncIterable<Buffer>,
  terms: SendingTerms,
): Promise<SendingEnd> {
  const { ffmpeg, args, signal } = terms;
  const options = { stdin: 'pipe', signal, graceMs: GRACE_MS, name: 'ffmpeg' } as const;
  await using child = await ManagedChild.spawn(ffmpeg, [...args], options);
  child.stdin?.on('error', () => {});
  using peer = new Peer(terms);
  child.stdout?.setEncoding('latin1').on('data', (text: string) => peer.progress(text));
  return await Promise.race([endOf(subscription), fedUntilOthers(subscription, child), peer.silent, exitOf(child)]);
}

/** Resolves when the stream goes on with other tracks; the ends of all else are told by those. */
async function fedUntilOthers(subscription: AsyncIterable<Buffer>, child: ManagedChild): Promise<'tracks'> {
  const tracks = new TrackWatch();
  try {
    for await (const bytes of subscription) {
      if (tracks.hasChanged(bytes)) return 'tracks';
      await feed(child, bytes);
    }
  } catch {
    // Its end tells.
  }
  return new Promise(() => {});
}

/** Resolves if it was closed for good; rejects with what else it ended by. */
export async function endOf({ ended }: Subscription): Promise<'closed'> {
  const { reason, error } = await ended;
  if (reason === 'closed') return 'closed';
  // It waits to be told whether that is for other tracks.
  if (reason === 'left') return new Promise(() => {});
  if (reason === 'lagged') throw new Error('the peer takes nothing, or less than comes');
  throw error ?? new Error(`the channel ended (${reason})`);
}

async function exitOf({ closed }: ManagedChild): Promise<'outside'> {
  const exit = await closed;
  if (isToldToEnd(exit)) return 'outside';
  throw new ChildExitError('ffmpeg', exit);
}

/** Whether a peer takes what there is for it: ffmpeg tells again and again how much that is so far. */
class Peer implements Disposable {
  /** Rejects when it takes nothing for too long while there is something; never resolves. */
  readonly silent: Promise<never>;
  readonly #terms: SendingTerms;
  readonly #silent = Promise.withResolvers<never>();
  readonly #timer: NodeJS.Timeout;
  #total = 0;
  #tookAt = performance.now();

  constructor(terms: SendingTerms) {
    this.#terms = terms;
    this.silent = this.#silent.promise;
    this.silent.catch(() => {});
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  progress(text: string): void {
    const total = Number(/total_size=(\d+)/.exec(text)?.[1] ?? 0);
    if (total <= this.#total) return;
    this.#terms.sent(total - this.#total);
    this.#total = total;
    this.#tookAt = performance.now();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { hub, limits } = this.#terms;
    const option = this.#total === 0 ? 'startTimeoutMs' : 'stallTimeoutMs';
    const forMs = performance.now() - this.#tookAt;
    // While its channel gives nothing there is nothing to take.
    if (hub.state !== 'live') this.#tookAt = performance.now();
    else if (forMs > limits[option]) {
      const what = this.#total === 0 ? 'has taken nothing since it was called' : 'takes nothing any more,';
      this.#silent.reject(new Error(`the peer ${what} for ${Math.round(forMs)} ms (${option})`));
    }
  }
}
