import type { ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import type { Channel } from '../channel/channel.ts';
import type { Channels } from '../channel/channels.ts';
import { PROFILES } from '../config/schema.ts';
import { type Failure, failureOf } from '../failure.ts';
import type { Hls } from '../hls/hls.ts';
import type { HlsStream } from '../hls/hls-stream.ts';
import { mediaPlaylist, multivariantPlaylist, PLAYLIST_TYPE, SEGMENT_TYPE, sequenceOf } from '../hls/playlist.ts';
import type { StoredSegment } from '../hls/segment-store.ts';
import { isSessionId, newSessionId } from '../hls/sessions.ts';
import type { Outputs } from '../outputs.ts';
import { isProfile } from '../pipeline/profiles.ts';
import { sendFailure, sendProblem } from './responses.ts';
import type { Exchange, Routes } from './router.ts';
import { isRefused } from './viewers.ts';

interface HlsDesk {
  readonly channels: Channels;
  readonly hls: Hls;
}

/** One request for a channel that there is. */
interface Visit extends HlsDesk {
  readonly exchange: Exchange;
  readonly channel: Channel;
  /** Of who asks: as it is in the address, or else made of where it is asked from. */
  readonly session: string;
  /** Aborts when nobody waits for the answer any more. */
  readonly gone: AbortSignal;
}

/** Segments have names that are never used again. */
const SEGMENT_MS = 60_000;
const SEGMENT_CACHING = 'public, max-age=300, immutable';

export function hlsRoutes(channels: Channels, { hls }: Pick<Outputs, 'hls'>): Routes {
  const desk = { channels, hls };
  const at = (serve: (visit: Visit) => unknown) => (exchange: Exchange) => visit(exchange, desk, serve);
  return {
    'GET /channels/:id/hls/index.m3u8': at(multivariant),
    'GET /channels/:id/hls/:profile/index.m3u8': at(media),
    'DELETE /channels/:id/hls/:profile/index.m3u8': at(leave),
    'GET /channels/:id/hls/:profile/:segment': at(segment),
  };
}

/** Pages of others may play it: hls.js asks from wherever it is. */
function visit(exchange: Exchange, desk: HlsDesk, serve: (visit: Visit) => unknown): unknown {
  const { response, parameters } = exchange;
  response.setHeader('Access-Control-Allow-Origin', '*');
  const channel = desk.channels.get(parameters.id ?? '');
  if (channel) return serve({ ...desk, exchange, channel, session: sessionOf(exchange), gone: goneSignal(response) });
  const detail = `no channel has the id ${(parameters.id ?? '').slice(0, 100)}; see /api/channels`;
  return notFound(response, 'Unknown channel', detail);
}

function sessionOf({ client, query, parameters }: Exchange): string {
  const given = query.get('session') ?? '';
  return isSessionId(given) ? given : `${parameters.id} ${parameters.profile} ${client}`;
}

function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return gone.signal;
}

/** Begins a session: its id is in the address of the playlist that a player asks for again and again. */
async function multivariant(visit: Visit): Promise<void> {
  const { exchange, channel, hls, gone } = visit;
  const { request, response, query } = exchange;
  const asked = query.get('profile') ?? undefined;
  if (asked !== undefined && !isProfile(asked)) {
    unknownProfile(response, asked);
  } else if (request.method === 'HEAD') sendPlaylist(response, '');
  else {
    const session = newSessionId();
    const begin = { ...visit, session };
    await started(begin, async () => {
      using begun = await hls.begin(channel, asked, gone);
      await whenReady(begin, begun.stream, ({ ring }) => {
        const { peakBandwidth, averageBandwidth } = ring;
        const uri = `${begun.profile}/index.m3u8?session=${session}`;
        sendPlaylist(response, multivariantPlaylist({ uri, peakBandwidth, averageBandwidth }));
      });
    });
  }
}

async function media(visit: Visit): Promise<void> {
  const { exchange, channel, hls, session } = visit;
  const { request, response, parameters } = exchange;
  const { profile = '' } = parameters;
  const query = isSessionId(session) ? `?session=${session}` : '';
  if (!isProfile(profile)) unknownProfile(response, profile);
  else if (hls.sessions.hasEnded(session)) over(response);
  else if (request.method === 'HEAD') sendPlaylist(response, '');
  else {
    await started(visit, () =>
      whenReady(visit, hls.open(channel, profile), (stream) => {
        if (stream.isStale) sendFailure(response, channel.entry.id, staleness(channel, stream));
        else sendPlaylist(response, mediaPlaylist(stream.ring.listed, stream.targetSeconds, query));
      }),
    );
  }
}

/** A player that is closed need not be waited for. */
function leave({ exchange, hls, session }: Visit): void {
  const { response } = exchange;
  if (isSessionId(session)) {
    hls.sessions.end(session);
    response.writeHead(204).end();
  } else notFound(response, 'Unknown session', 'the address of a playlist has the session that is to end: ?session=…');
}

async function segment(visit: Visit): Promise<void> {
  const { exchange, channel, hls, session } = visit;
  const { request, response, parameters } = exchange;
  const { profile = '', segment: name = '' } = parameters;
  const sequence = sequenceOf(name);
  const stream = isProfile(profile) ? hls.find(channel.entry.id, profile) : undefined;
  if (sequence === undefined || !stream) {
    notFound(response, 'Unknown segment', 'it is not made now, or its name is none; see the playlist');
    return;
  }
  const stored = stream.ring.get(sequence);
  const noMore = () => sendGone(response, `segment ${sequence} is no longer kept`);
  if (hls.sessions.hasEnded(session)) over(response);
  else if (stored && request.method === 'HEAD') sendSegmentHead(response, stored).end();
  else if (stored) {
    await entered(visit, async () => {
      hls.sessions.watch(session, stream);
      await sendSegment(response, stored, noMore);
    });
  } else if (sequence < stream.ring.next.sequence) noMore();
  else notFound(response, 'Unknown segment', `there is no segment ${sequence} yet`);
}

/** Answers with why it could not be, as for MPEG-TS. */
async function started(visit: Visit, serve: () => Promise<void>): Promise<void> {
  const { refused, entry } = visit.channel;
  if (refused) sendFailure(visit.exchange.response, entry.id, refused);
  else await entered(visit, serve);
}

/** Whoever asks for something is a viewer. */
async function entered({ exchange, channel, hls, session }: Visit, serve: () => Promise<void>): Promise<void> {
  const { response, client } = exchange;
  const { id } = channel.entry;
  const place = hls.sessions.enter(session, client, id);
  let failure = isRefused(place) ? place : undefined;
  using _place = isRefused(place) ? undefined : place;
  try {
    if (!failure) await serve();
  } catch (error) {
    failure = failureOf(error);
  }
  if (failure && !response.headersSent && !response.destroyed) sendFailure(response, id, failure);
}

/** Waits for the first segment, as long as the player does. */
async function whenReady(
  { hls, session, gone }: Visit,
  stream: HlsStream,
  serve: (stream: HlsStream) => unknown,
): Promise<void> {
  using _used = stream.use();
  await untilGone(stream.ready, gone);
  hls.sessions.watch(session, stream);
  await serve(stream);
}

/** Rejects with the signal's reason if that is first. */
async function untilGone(wait: Promise<void>, gone: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const leave = () => reject(gone.reason);
  gone.addEventListener('abort', leave, { once: true });
  try {
    gone.throwIfAborted();
    await Promise.race([wait, promise]);
  } finally {
    gone.removeEventListener('abort', leave);
  }
}

/** A player that is given the same playlist again and again would only wait. */
function staleness(channel: Channel, { targetSeconds }: HlsStream): Failure {
  const why = channel.lastError?.detail ?? 'its source gives nothing now';
  const retryAfterMs = targetSeconds * 1_000;
  return { status: 503, title: 'The channel gives nothing new', detail: why, retryAfterMs };
}

function unknownProfile(response: ServerResponse, profile: string): void {
  const detail = `there is no profile ${JSON.stringify(profile.slice(0, 40))}; take ${PROFILES.join(', ')}`;
  sendProblem(response, { status: 404, title: 'Unknown profile', detail, known: PROFILES });
}

function sendPlaylist(response: ServerResponse, content: string): void {
  response.setHeader('Content-Type', PLAYLIST_TYPE);
  response.setHeader('Cache-Control', 'no-store');
  response.end(content);
}

function sendSegmentHead(response: ServerResponse, { byteLength }: StoredSegment): ServerResponse {
  return response.writeHead(200, {
    'Content-Type': SEGMENT_TYPE,
    'Content-Length': byteLength,
    'Cache-Control': SEGMENT_CACHING,
  });
}

async function sendSegment(response: ServerResponse, stored: StoredSegment, noMore: () => void): Promise<void> {
  const content = await stored.open();
  if (!content) {
    noMore();
    return;
  }
  // Nobody tells of who left meanwhile.
  if (response.destroyed) {
    if (!Buffer.isBuffer(content)) content.destroy();
    return;
  }
  // Who takes as long as this keeps what nobody will see.
  const late = setTimeout(() => response.destroy(), SEGMENT_MS);
  response.once('close', () => clearTimeout(late));
  sendSegmentHead(response, stored);
  if (Buffer.isBuffer(content)) response.end(content);
  else pipeline(content, response, () => {});
}

function notFound(response: ServerResponse, title: string, detail: string): void {
  sendProblem(response, { status: 404, title, detail });
}

function over(response: ServerResponse): void {
  sendGone(response, 'this session was ended; begin another with ../index.m3u8');
}

function sendGone(response: ServerResponse, detail: string): void {
  sendProblem(response, { status: 410, title: 'Gone', detail });
}
