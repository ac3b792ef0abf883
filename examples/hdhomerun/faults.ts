/** How a simulated device can misbehave. */
export type Fault = OpeningFault | StreamFault | DocumentFault;

/** What a client that opens a stream meets. */
export type OpeningFault =
  | 'busy' // 503 805, whatever the tuners do
  | 'system-busy' // 503 803
  | 'tune-failed' // 503 806
  | 'no-video' // 503 807 after `afterMs`
  | 'error-5xx' // 500 without a device code; without a channel, documents too
  | 'reset' // the connection is torn without an answer; without a channel, documents too
  | 'hang' // no answer at all
  | 'slow-start'; // the stream starts after `afterMs`

/** What happens to a stream that runs, `afterMs` after its first byte or after the order, whichever is later. */
export type StreamFault =
  | 'stall' // open, but no byte more
  | 'cut' // the connection is torn
  | 'end' // the stream ends as if it were complete
  | 'garbage'; // random bytes instead of packets

export type DocumentFault =
  | 'empty-lineup'
  | 'garbage-lineup'
  | 'hang-lineup'
  | 'garbage-discover'
  | 'empty-guide'
  | 'garbage-guide'
  | 'hang-guide';

export interface Misbehaviour {
  readonly fault: Fault;
  /** Only this channel. @default all, and for `error-5xx` and `reset` the documents too */
  readonly channel?: string | undefined;
  /** @default 0; 5000 for `no-video` and `slow-start`, as long as a real device waits for a signal */
  readonly afterMs?: number | undefined;
  /** How many requests or streams it meets. @default Infinity */
  readonly times?: number | undefined;
}

/** A fault that was drawn for one request or stream. */
export interface DrawnFault<F extends Fault = Fault> {
  readonly fault: F;
  readonly afterMs: number;
}

const OPENING: readonly Fault[] = [
  'busy',
  'system-busy',
  'tune-failed',
  'no-video',
  'error-5xx',
  'reset',
  'hang',
  'slow-start',
] satisfies OpeningFault[];
const STREAM: readonly Fault[] = ['stall', 'cut', 'end', 'garbage'] satisfies StreamFault[];
const WAITING: readonly Fault[] = ['no-video', 'slow-start'];
const DEFAULT_WAIT_MS = 5000;

export function isStreamFault(fault: Fault): fault is StreamFault {
  return STREAM.includes(fault);
}

interface Order {
  readonly misbehaviour: Misbehaviour;
  remaining: number;
}

/** The orders to misbehave, in the order they were given; the first that fits is drawn. */
export class Faults {
  #orders: Order[] = [];

  add(misbehaviour: Misbehaviour): void {
    this.#orders.push({ misbehaviour, remaining: misbehaviour.times ?? Number.POSITIVE_INFINITY });
  }

  clear(): void {
    this.#orders = [];
  }

  drawForOpening(channel: string): DrawnFault<OpeningFault> | undefined {
    return this.#draw(OPENING, channel) as DrawnFault<OpeningFault> | undefined;
  }

  drawForStream(channel: string): DrawnFault<StreamFault> | undefined {
    return this.#draw(STREAM, channel) as DrawnFault<StreamFault> | undefined;
  }

  drawForDocument(...faults: readonly Fault[]): DrawnFault | undefined {
    return this.#draw(faults);
  }

  #draw(faults: readonly Fault[], channel?: string): DrawnFault | undefined {
    const order = this.#orders.find(
      ({ misbehaviour, remaining }) =>
        remaining > 0 && faults.includes(misbehaviour.fault) && [undefined, channel].includes(misbehaviour.channel),
    );
    if (!order) return undefined;
    order.remaining -= 1;
    const { fault, afterMs } = order.misbehaviour;
    return { fault, afterMs: afterMs ?? (WAITING.includes(fault) ? DEFAULT_WAIT_MS : 0) };
  }
}
