import type { ServerResponse } from 'node:http';
import type { Subscription } from 'holdfast';
import type { Channel } from '../channel/channel.ts';
import { type Failure, failureOf } from '../failure.ts';
import { sendFailure } from '../http/responses.ts';
import type { Exchange } from '../http/router.ts';
import { isRefused, type Viewers } from '../http/viewers.ts';
import { asDevice } from './device-headers.ts';
import { isProtected, type PublishedDevice } from './published-device.ts';
import { type Refusal, refusal, refusalOf } from './refusals.ts';
import { isRefusal, type StreamRequest, streamRequestOf } from './stream-request.ts';
import type { TunerUse } from './virtual-tuners.ts';

/** What streams are served from. */
export interface StreamParts {
  readonly device: PublishedDevice;
  readonly viewers: Viewers;
}

/** Serves `/auto/v5.1`, or with the number of a tuner `/tuner1/v5.1`, as a device does: to players, the channel's one source. */
export async function streamAsDevice(exchange: Exchange, parts: StreamParts, tuner?: number): Promise<void> {
  const { request, response, parameters, query } = exchange;
  asDevice(response);
  const name = parameters.channel ?? '';
  const wanted = streamRequestOf(parts.device, name, query);
  if (isRefusal(wanted)) return refuse(response, name, wanted);
  if (tuner !== undefined && !parts.device.tuners.has(tuner)) return refuse(response, name, noTuner(tuner));
  setStreamHeaders(response);
  // Players look first whether there is something; that needs no tuner.
  if (request.method === 'HEAD') response.end();
  else await serve(exchange, wanted, parts, tuner);
}

async function serve(
  { response, client }: Exchange,
  wanted: StreamRequest,
  { device, viewers }: StreamParts,
  tuner: number | undefined,
): Promise<void> {
  const { channel, number } = wanted.entry;
  const watched = outputOf(wanted);
  // A tuner that is asked for by its number and serves another is that, whatever else could be said of the channel.
  const use = tuneTo(device, channel, { address: client, tuner });
  if (isRefusal(use)) return refuse(response, number, use);
  using _use = use;
  const place =
    channel.relay.follow(response) ?? refusedNow(channel, watched) ?? viewers.admit(client, channel.entry.id);
  if (isRefused(place)) return refuse(response, number, refusalOf(place));
  using _place = place;
  response.setHeader('X-HDHomeRun-Resource', use.resource);
  const error = await watch(response, watched, wanted.durationMs);
  if (error !== undefined && !response.headersSent && !response.destroyed) {
    refuse(response, number, refusalOf(failureOf(error)));
  }
}

/** What players are given of a channel: the stream as it comes, or a rendition. */
type Output = Pick<Channel, 'refused' | 'watch'>;

function outputOf({ entry: { channel }, profile }: StreamRequest): Output {
  return profile === 'copy' ? channel : channel.renditions.get(profile);
}

/** What is protected stays so, whatever else keeps it from being opened again. */
function refusedNow(channel: Channel, { refused }: Output): Failure | undefined {
  return refused && isProtected(channel) ? channel.lastError : refused;
}

function tuneTo(
  { tuners }: PublishedDevice,
  channel: Channel,
  { address, tuner }: { readonly address: string; readonly tuner: number | undefined },
): TunerUse | Refusal {
  if (tuner === undefined) return tuners.take(channel, address);
  const use = tuners.takeNumber(tuner, channel, address);
  return use ?? refusal(503, 804, `tuner${tuner} serves another channel, or is locked; take /auto/`);
}

function noTuner(tuner: number): Refusal {
  return { status: 404, title: 'Unknown tuner', detail: `there is no tuner${tuner}` };
}

/** Resolves when it is over, with the error if it never began. */
async function watch(response: ServerResponse, output: Output, durationMs: number): Promise<unknown> {
  const subscription = output.watch(response);
  const limit = Number.isFinite(durationMs) ? endAfter(subscription, response, { durationMs }) : undefined;
  const { error } = await subscription.ended;
  limit?.[Symbol.dispose]();
  return error;
}

/** When an answer ends. */
export interface StreamLimit {
  /** From its first byte on. */
  readonly durationMs: number;
  /**
   * Who takes nothing of the rest for so long will not: it would keep its connection for ever, as no viewer that is counted.
   *
   * @default 10 s
   */
  readonly restIdleMs?: number | undefined;
}

/** Ends the answer, cleanly, when its time is over. */
export function endAfter(
  subscription: Subscription,
  response: ServerResponse,
  { durationMs, restIdleMs = 10_000 }: StreamLimit,
): Disposable {
  let timer: NodeJS.Timeout | undefined;
  const end = async () => {
    await subscription[Symbol.asyncDispose]();
    response.setTimeout(restIdleMs, () => response.destroy());
    response.end();
  };
  const begin = () => {
    timer = setTimeout(end, durationMs);
  };
  subscription.live.then(begin, () => {});
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

function setStreamHeaders(response: ServerResponse): void {
  response.setHeader('Content-Type', 'video/mpeg');
  response.setHeader('Cache-Control', 'no-store');
  response.setHeader('transferMode.dlna.org', 'Streaming');
}

function refuse(response: ServerResponse, channel: string, refused: Refusal): void {
  for (const name of ['transferMode.dlna.org', 'X-HDHomeRun-Resource']) response.removeHeader(name);
  sendFailure(response, channel, refused);
}
