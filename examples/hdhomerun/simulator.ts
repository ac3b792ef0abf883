import { once } from 'node:events';
import type { Server } from 'node:http';
import { type AddressInfo, isIPv6 } from 'node:net';
import { ControlServer } from './control.ts';
import { hdhomerunSource, makeDeviceId } from './device-id.ts';
import { DiscoveryResponder } from './discovery-responder.ts';
import { isStreamFault, type Misbehaviour } from './faults.ts';
import { findFfmpeg } from './ffmpeg.ts';
import { answerGetset } from './getset.ts';
import { localAddressTowards } from './local-address.ts';
import { sharedRecording } from './make-recording.ts';
import { type DiscoverReply, TUNER_DEVICE } from './messages.ts';
import type { Recording } from './recording.ts';
import { DEFAULT_CHANNELS, type SimulatedChannel, SimulatedDevice } from './simulated-device.ts';
import { createDeviceServer, type Origins } from './simulated-http.ts';
import { StreamDesk } from './simulated-stream-desk.ts';
import { SimulatedVariables } from './simulated-variables.ts';
import type { TunerState } from './tuner-bank.ts';

export interface SimulatorOptions {
  /** @default 2 */
  readonly tuners?: number | undefined;
  /** @default three channels: 5.1, 7.1 and 9.1 */
  readonly channels?: readonly SimulatedChannel[] | undefined;
  /** Address to listen on; broadcast discovery needs `0.0.0.0`. @default 127.0.0.1 */
  readonly bind?: string | undefined;
  /** 80 on a real device. @default 0, any free port */
  readonly httpPort?: number | undefined;
  /** 5004 on a real device. @default the same server as the documents */
  readonly streamPort?: number | undefined;
  /** UDP and TCP; 65001 on a real device, the only one that real clients ask. 0 is any. @default none */
  readonly discoveryPort?: number | undefined;
  /** Eight hex digits. @default made from the address and port, so that two simulators differ */
  readonly deviceId?: string | undefined;
  /** @default found by `findFfmpeg` */
  readonly ffmpeg?: string | undefined;
  /**
   * `per-stream`: an ffmpeg encodes each stream, with the name of its channel in the picture. `shared`: one recording is
   * made at the start and sent by all, each as a program of its own, so that many channels cost next to nothing.
   *
   * @default per-stream, or shared if a recording is given
   */
  readonly encoding?: 'per-stream' | 'shared' | undefined;
  /** MPEG-TS with one program that all channels send in a loop. @default one is made */
  readonly recording?: Buffer | undefined;
  /** Megabits per second of the recording that is made, from 0.3 to 50. @default 1 */
  readonly megabits?: number | undefined;
  /** @default 480 by 270 */
  readonly size?: { readonly width: number; readonly height: number } | undefined;
  /** Closes the simulator. */
  readonly signal?: AbortSignal | undefined;
  /** Told when a stream fails for a reason of the simulator's own, such as an ffmpeg that can't run. */
  readonly onStreamFailure?: ((error: unknown) => void) | undefined;
}

const MAX_TUNERS = 32;

/**
 * A device with real streams and real protocols whose tuners can be watched and whose faults can be ordered: the tuner
 * of the demo and of the tests. Disposing of it closes every connection and waits for every ffmpeg to be gone.
 */
export class HdhomerunSimulator implements AsyncDisposable {
  readonly #device: SimulatedDevice;
  readonly #desk: StreamDesk;
  readonly #bind: string;
  readonly #servers: Server[] = [];
  /** Of `#servers`; kept, since a closed server no longer knows its port. */
  readonly #ports: number[] = [];
  readonly #closing: AsyncDisposable[] = [];
  #discoveryPort: number | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: SimulatorOptions, ffmpeg: string, recording: Recording | undefined) {
    const { tuners = 2, channels = DEFAULT_CHANNELS, deviceId = '', bind = '127.0.0.1' } = options;
    if (!Number.isInteger(tuners) || tuners < 1 || tuners > MAX_TUNERS) {
      throw new RangeError(`tuners must be a whole number from 1 to ${MAX_TUNERS}, received ${tuners}`);
    }
    this.#bind = bind;
    this.#device = new SimulatedDevice(deviceId, channels, tuners);
    this.#desk = new StreamDesk(this.#device, { ...options, ffmpeg, recording });
  }

  /** Rejects with `ProgramNotFoundError` without an ffmpeg, and with `EADDRINUSE` or `EACCES` if a port can't be had. */
  static async start(options: SimulatorOptions = {}): Promise<HdhomerunSimulator> {
    options.signal?.throwIfAborted();
    const recording = await sharedRecording(options);
    const ffmpeg = options.ffmpeg ?? (recording ? 'ffmpeg' : findFfmpeg());
    const simulator = new HdhomerunSimulator(options, ffmpeg, recording);
    try {
      await simulator.#listen(options);
    } catch (error) {
      await simulator.close();
      throw error;
    }
    options.signal?.addEventListener('abort', () => void simulator.close(), { once: true });
    if (options.signal?.aborted) await simulator.close();
    return simulator;
  }

  async #listen({ httpPort = 0, streamPort, discoveryPort, deviceId }: SimulatorOptions): Promise<void> {
    await this.#serve(httpPort);
    if (streamPort !== undefined && streamPort !== httpPort) await this.#serve(streamPort);
    this.#device.deviceId = deviceId ?? makeDeviceId(this.url);
    if (discoveryPort !== undefined) await this.#answerDiscovery(discoveryPort);
  }

  async #serve(port: number): Promise<void> {
    const server = createDeviceServer({
      device: this.#device,
      originsFor: (localAddress) => this.#origins(localAddress),
      openStream: (wanted, request, response) => this.#desk.open(wanted, { request, response }),
    });
    const listening = once(server, 'listening');
    server.listen(port, this.#bind);
    await listening;
    this.#servers.push(server);
    this.#ports.push((server.address() as AddressInfo).port);
  }

  /** TCP first: with port 0 it chooses, and UDP takes the same number. */
  async #answerDiscovery(port: number): Promise<void> {
    const answer = answerGetset.bind(undefined, new SimulatedVariables(this.#device));
    const control = await ControlServer.start({ address: this.#bind, port, answer });
    this.#closing.push(control);
    const describe = async (peer: { readonly address: string }) =>
      this.#describe(await localAddressTowards(peer.address));
    this.#closing.push(await DiscoveryResponder.start({ address: this.#bind, port: control.port, describe }));
    this.#discoveryPort = control.port;
  }

  #describe(localAddress: string): DiscoverReply {
    const { http } = this.#origins(localAddress);
    const { deviceId, deviceAuth, tuners } = this.#device;
    const lineupUrl = `${http}/lineup.json`;
    return { deviceType: TUNER_DEVICE, deviceId, deviceAuth, baseUrl: http, tunerCount: tuners.count, lineupUrl };
  }

  #origins(localAddress: string): Origins {
    const [http, stream = http] = this.#ports;
    const address = localAddress.replace(/^::ffff:/, '');
    const host = isIPv6(address) ? `[${address}]` : address;
    return { http: `http://${host}:${http}`, stream: `http://${host}:${stream}` };
  }

  /** Where its documents are, without a slash at the end. */
  get url(): string {
    return this.#ownOrigins.http;
  }

  /** As reached from this machine. */
  get #ownOrigins(): Origins {
    return this.#origins({ '0.0.0.0': '127.0.0.1', '::': '::1' }[this.#bind] ?? this.#bind);
  }

  get deviceId(): string {
    return this.#device.deviceId;
  }

  /** The port of discovery and control, if they were asked for. */
  get discoveryPort(): number | undefined {
    return this.#discoveryPort;
  }

  get channels(): readonly SimulatedChannel[] {
    return this.#device.channels;
  }

  streamUrl(channel: string, resource = 'auto'): string {
    return `${this.#ownOrigins.stream}/${resource}/v${channel}`;
  }

  /** The identity that a reader of this channel must lock. */
  source(channel: string): string {
    return hdhomerunSource(this.deviceId, channel);
  }

  /** Every tuner with its holder. */
  tuners(): readonly TunerState[] {
    return this.#device.tuners.states();
  }

  /** How often a tuner was taken for the channel, or for any, since the start. */
  opens(channel?: string): number {
    return this.#device.tuners.opens(channel);
  }

  /** How many tuners stream the channel, or any, now. */
  streams(channel?: string): number {
    return this.#device.tuners.streams(channel);
  }

  /** The most tuners that ever streamed at the same time. */
  get maxStreams(): number {
    return this.#device.tuners.maxStreams;
  }

  /** The most tuners that ever streamed this channel at the same time. */
  maxStreamsOf(channel: string): number {
    return this.#device.tuners.maxStreamsOf(channel);
  }

  /** The ffmpeg processes of the streams that are open. */
  pids(): readonly number[] {
    return this.#desk.pids();
  }

  /** Takes a tuner for a holder that is none of its clients. Throws if it is not free. */
  occupy(tuner: number, address = '10.0.0.99'): Disposable {
    const use = this.#device.tuners.take({ address, since: new Date() }, tuner);
    if (!use) throw new RangeError(`tuner must be the number of a free tuner, received ${tuner}`);
    return use;
  }

  /** Orders a fault: for requests to come, and, where it is one of running streams, for those that run. */
  misbehave(misbehaviour: Misbehaviour): void {
    this.#device.faults.add(misbehaviour);
    if (isStreamFault(misbehaviour.fault)) this.#desk.strikeRunning();
  }

  /** Ends all misbehaviour; streams that stalled go on. */
  heal(): void {
    this.#device.faults.clear();
    this.#desk.heal();
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await Promise.all([
      ...this.#servers.map(closeServer),
      ...this.#closing.map((closing) => closing[Symbol.asyncDispose]()),
    ]);
    await this.#desk.idle();
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
