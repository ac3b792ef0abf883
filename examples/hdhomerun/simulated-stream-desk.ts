import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DrawnFault, OpeningFault } from './faults.ts';
import { type OpenFeed, programFeed, recordingFeed } from './feeds.ts';
import { Playout } from './playout.ts';
import type { Recording } from './recording.ts';
import type { SimulatedChannel, SimulatedDevice } from './simulated-device.ts';
import type { StreamRequest } from './simulated-http.ts';
import { refuse, SimulatedStream } from './simulated-stream.ts';
import { testPictureArguments } from './test-picture.ts';

export interface StreamDeskOptions {
  readonly ffmpeg: string;
  readonly size?: { readonly width: number; readonly height: number } | undefined;
  /** What all channels send, instead of a picture of each. */
  readonly recording?: Recording | undefined;
  readonly onStreamFailure?: ((error: unknown) => void) | undefined;
}

const DEFAULT_SIZE = { width: 480, height: 270 };
const PROFILES = ['none', 'heavy', 'mobile', 'internet720', 'internet480', 'internet360', 'internet240'];

/** The HTTP status and, mostly, the device's own code. */
type Refusal = readonly [status: number, deviceCode?: number];

const REFUSING_FAULTS: Readonly<Record<string, Refusal>> = {
  busy: [503, 805],
  'system-busy': [503, 803],
  'tune-failed': [503, 806],
  'error-5xx': [500],
};

/** Both ends of one HTTP exchange. */
export interface Client {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

interface TuneRequest extends Omit<StreamRequest, 'channel'> {
  readonly channel: SimulatedChannel;
}

/** Takes requests for streams: refuses them, or finds them a tuner and keeps them until they end. */
export class StreamDesk {
  readonly #device: SimulatedDevice;
  readonly #options: StreamDeskOptions;
  readonly #streams = new Map<SimulatedStream, Promise<void>>();
  readonly #playout = new Playout();

  constructor(device: SimulatedDevice, options: StreamDeskOptions) {
    this.#device = device;
    this.#options = options;
  }

  open(wanted: StreamRequest, client: Client): void {
    const refusal = this.#tryOpen(wanted, client);
    if (refusal) refuse(client.response, ...refusal);
  }

  #tryOpen(wanted: StreamRequest, client: Client): Refusal | undefined {
    const channel = this.#device.findChannel(wanted.channel);
    if (!channel) return isResource(wanted.resource) ? [404, 801] : [404];
    const refusal = refusalOf(wanted, channel);
    if (refusal) return refusal;
    if (client.request.method === 'HEAD') return [200];
    const drawn = this.#device.faults.drawForOpening(channel.number);
    if (drawn?.fault === 'reset') client.response.socket?.resetAndDestroy();
    if (drawn?.fault === 'reset' || drawn?.fault === 'hang') return undefined;
    return REFUSING_FAULTS[drawn?.fault ?? ''] ?? this.#tune({ ...wanted, channel }, client, drawn);
  }

  #tune(wanted: TuneRequest, client: Client, drawn: DrawnFault<OpeningFault> | undefined): Refusal | undefined {
    const { channel, resource, query } = wanted;
    const tuner = resource === 'auto' ? undefined : Number(resource.slice('tuner'.length));
    const holder = { address: peerOf(client.request), since: new Date(), channel: channel.number };
    const use = this.#device.tuners.take(holder, tuner);
    if (!use) return [503, tuner === undefined ? 805 : 804];
    const stream = new SimulatedStream(client.response, use);
    if (drawn?.fault === 'no-video') stream.refuseLater(drawn.afterMs);
    else this.#keep(stream, stream.run(this.#feedOf(channel, query.duration), drawn?.afterMs ?? 0));
    return undefined;
  }

  #keep(stream: SimulatedStream, running: Promise<void>): void {
    const done = running.catch((error) => this.#options.onStreamFailure?.(error));
    this.#streams.set(stream, done);
    void done.finally(() => this.#streams.delete(stream));
    this.#strike(stream);
  }

  #feedOf(channel: SimulatedChannel, duration: string | undefined): OpenFeed {
    const { ffmpeg, recording, size = DEFAULT_SIZE } = this.#options;
    const { name } = channel;
    const seconds = duration === undefined ? undefined : Number(duration);
    if (recording) {
      const program = { index: this.#device.channels.indexOf(channel), name };
      return recordingFeed(recording, this.#playout, program, seconds && seconds * 1000);
    }
    return programFeed(ffmpeg, testPictureArguments({ name, toneHz: this.#device.toneOf(channel), ...size }, seconds));
  }

  /** Lets the faults that were ordered strike the streams that run. */
  strikeRunning(): void {
    for (const stream of this.#streams.keys()) this.#strike(stream);
  }

  #strike(stream: SimulatedStream): void {
    const drawn = this.#device.faults.drawForStream(stream.channel);
    if (drawn) stream.inject(drawn);
  }

  heal(): void {
    for (const stream of this.#streams.keys()) stream.heal();
  }

  pids(): number[] {
    return [...this.#streams.keys()].flatMap((stream) => stream.pid ?? []);
  }

  /** Resolves when no stream is left and every ffmpeg is gone. */
  async idle(): Promise<void> {
    await Promise.all(this.#streams.values());
  }
}

function refusalOf({ resource, query }: StreamRequest, channel: SimulatedChannel): Refusal | undefined {
  if (!isResource(resource)) return [404];
  if (!PROFILES.includes(query.transcode ?? 'none')) return [404, 802];
  if (channel.drm) return [403, 811];
  return isDuration(query.duration) ? undefined : [400];
}

function isResource(resource: string): boolean {
  return /^(auto|tuner\d{1,2})$/.test(resource);
}

function isDuration(duration: string | undefined): boolean {
  return duration === undefined || (/^\d{1,9}$/.test(duration) && Number(duration) > 0);
}

function peerOf(request: IncomingMessage): string {
  return (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
}
