import type { ServerResponse } from 'node:http';
import type { Channel } from '../channel/channel.ts';
import type { Channels } from '../channel/channels.ts';
import { PROFILES } from '../config/schema.ts';
import { type Failure, failureOf } from '../failure.ts';
import type { Hls } from '../hls/hls.ts';
import type { HlsStream } from '../hls/hls-stream.ts';
import { mediaPlaylist, multivariantPlaylist, PLAYLIST_TYPE, SEGMENT_TYPE, sequenceOf } from '../hls/playlist.ts';
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
    'GET /channels/:id/hls/:profile/:segment': at(segment),
  };
}

/** Pages of others may play it: hls.js asks from wherever it is. */
function visit(exchange: Exchange, desk: HlsDesk, serve: (visit: Visit) => unknown): unknown {
  const { response, parameters } = exchange;
  response.setHeader('Access-Control-Allow-Origin', '*');
  const channel = desk.channels.get(parameters.id ?? '');
  if (channel) return serve({ ...desk, exchange, channel });
  const detail = `no channel has the id ${(parameters.id ?? '').slice(0, 100)}; see /api/channels`;
  return notFound(response, 'Unknown channel', detail);
}

/** Begins a session: its id is in the address of the playlist that a player asks for again and again. */
async function multivariant(visit: Visit): Promise<void> {
  const { exchange, channel, hls } = visit;
  const { request, response, query } = exchange;
  const asked = query.get('profile') ?? undefined;
  if (asked !== undefined && !isProfile(asked)) {
    unknownProfile(response, asked);
  } else if (request.method === 'HEAD') sendPlaylist(response, '');
  else {
    const session = newSessionId();
    const failure = await started(visit, session, async () => {
      const profile = await hls.profileFor(channel, asked);
      await whenReady(hls.open(channel, profile), async ({ ring }) => {
        const { peakBandwidth, averageBandwidth } = ring;
        const uri = `${profile}/index.m3u8?session=${session}`;
        sendPlaylist(response, multivariantPlaylist({ uri, peakBandwidth, averageBandwidth }));
      });
    });
    if (failure) hls.sessions.leave(session);
  }
}

async function media(visit: Visit): Promise<void> {
  const { exchange, channel, hls } = visit;
  const { request, response, query, parameters } = exchange;
  const { profile = '' } = parameters;
  const given = query.get('session') ?? '';
  const session = isSessionId(given) ? given : `${channel.entry.id} ${request.socket.remoteAddress}`;
  if (!isProfile(profile)) unknownProfile(response, profile);
  else if (hls.sessions.hasEnded(session)) gone(response, 'this session was ended; begin another with ../index.m3u8');
  else if (request.method === 'HEAD') sendPlaylist(response, '');
  else {
    await started(visit, session, () =>
      whenReady(hls.open(channel, profile), (stream) => {
        if (stream.isStale) sendFailure(response, channel.entry.id, staleness(channel, stream));
        else sendPlaylist(response, mediaPlaylist(stream.ring.listed, stream.targetSeconds));
      }),
    );
  }
}

async function segment({ exchange, channel, hls }: Visit): Promise<void> {
  const { request, response, parameters } = exchange;
  const { profile = '', segment: name = '' } = parameters;
  const sequence = sequenceOf(name);
  const stream = isProfile(profile) ? hls.find(channel.entry.id, profile) : undefined;
  if (sequence === undefined || !stream) {
    notFound(response, 'Unknown segment', 'it is not made now, or its name is none; see the playlist');
    return;
  }
  const stored = stream.ring.get(sequence);
  // Only what is there keeps the stream.
  using _used = stored && stream.use();
  const isHead = request.method === 'HEAD';
  const bytes = isHead ? undefined : await stored?.read();
  if (stored && (isHead || bytes)) sendSegment(response, stored.byteLength, bytes);
  else if (sequence < stream.ring.next.sequence) gone(response, `segment ${sequence} is no longer kept`);
  else notFound(response, 'Unknown segment', `there is no segment ${sequence} yet`);
}

/** Answers with why it could not be, as for MPEG-TS. */
async function started(
  { exchange, channel, hls }: Visit,
  session: string,
  serve: () => Promise<void>,
): Promise<Failure | undefined> {
  const { request, response } = exchange;
  const { id } = channel.entry;
  const entered = channel.refused ?? hls.sessions.enter(session, request, id);
  let failure = isRefused(entered) ? entered : undefined;
  using _entered = isRefused(entered) ? undefined : entered;
  try {
    if (!failure) await serve();
  } catch (error) {
    failure = failureOf(error);
  }
  if (failure && !response.headersSent) sendFailure(response, id, failure);
  return failure;
}

/** Waits for the first segment, during which the stream counts as asked for. */
async function whenReady(stream: HlsStream, serve: (stream: HlsStream) => unknown): Promise<void> {
  using _used = stream.use();
  await stream.ready;
  await serve(stream);
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

function sendSegment(response: ServerResponse, byteLength: number, bytes: Buffer | undefined): void {
  response.writeHead(200, {
    'Content-Type': SEGMENT_TYPE,
    'Content-Length': byteLength,
    'Cache-Control': SEGMENT_CACHING,
  });
  // Who takes as long as this holds memory for what nobody will see.
  const late = setTimeout(() => response.destroy(), SEGMENT_MS);
  response.once('close', () => clearTimeout(late));
  response.end(bytes);
}

function notFound(response: ServerResponse, title: string, detail: string): void {
  sendProblem(response, { status: 404, title, detail });
}

function gone(response: ServerResponse, detail: string): void {
  sendProblem(response, { status: 410, title: 'Gone', detail });
}
