import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Channels } from '../channel/channels.ts';
import type { Guide } from '../guide/guide.ts';
import type { Listed } from '../guide/guide-merge.ts';
import { unpacked } from '../guide/packed-text.ts';
import { sendJson, sendProblem } from './responses.ts';
import type { Routes } from './router.ts';
import type { ChannelView, ProgrammeView } from './views.ts';

/** A first guide takes so long, mostly. */
const RETRY_AFTER_S = 10;

/** `/xmltv.xml` for players, `/api/guide` for the page. */
export function guideRoutes(guide: Guide, channels: Channels): Routes {
  return {
    'GET /xmltv.xml': ({ request, response }) => sendGuide(request, response, guide),
    'GET /api/guide': ({ response, query }) => sendNowAndNext(response, query.get('channel'), { guide, channels }),
  };
}

async function sendGuide(request: IncomingMessage, response: ServerResponse, guide: Guide): Promise<void> {
  const document = await guide.document().catch((error) => sendNone(response, error));
  if (!document) return;
  const { gzip, hash, changedAt } = document;
  const isPacked = acceptsGzip(request);
  // A tag is of the bytes that are sent, and these are not the same.
  const etag = `"${hash}${isPacked ? '-gzip' : ''}"`;
  response.setHeader('ETag', etag);
  response.setHeader('Last-Modified', changedAt.toUTCString());
  response.setHeader('Vary', 'Accept-Encoding');
  response.setHeader('Cache-Control', 'no-cache');
  if (isKnown(request, etag, changedAt)) {
    response.writeHead(304).end();
    return;
  }
  response.setHeader('Content-Type', 'application/xml; charset=utf-8');
  if (isPacked) response.setHeader('Content-Encoding', 'gzip').setHeader('Content-Length', gzip.length).end(gzip);
  else if (request.method === 'HEAD') response.end();
  else await pipeline(unpacked(gzip), response).catch(() => response.destroy());
}

function sendNone(response: ServerResponse, error: Error): void {
  response.setHeader('Retry-After', RETRY_AFTER_S);
  sendProblem(response, { status: 503, title: 'No guide', detail: error.message });
}

function acceptsGzip({ headers }: IncomingMessage): boolean {
  return /(^|,)\s*(gzip|x-gzip|\*)\s*(;\s*q=(1(\.0{0,3})?|0\.\d*[1-9]\d*)\s*)?(,|$)/i.test(
    String(headers['accept-encoding'] ?? ''),
  );
}

/** A tag counts more than a time, as RFC 9110 says. */
function isKnown({ headers }: IncomingMessage, etag: string, changedAt: Date): boolean {
  const tags = headers['if-none-match'];
  if (tags !== undefined) return tags.split(',').some((tag) => ['*', etag].includes(tag.trim().replace(/^W\//, '')));
  const since = Date.parse(headers['if-modified-since'] ?? '');
  return Math.floor(changedAt.getTime() / 1_000) * 1_000 <= since;
}

interface Known {
  readonly guide: Guide;
  readonly channels: Channels;
}

/** Of one channel, or of all by their ids. */
function sendNowAndNext(response: ServerResponse, id: string | null, { guide, channels }: Known): void {
  const now = new Date().toISOString();
  if (id === null) {
    const all = [...channels].map(({ entry }) => [entry.id, programmesOf(guide, entry.id)]);
    sendJson(response, { at: now, channels: Object.fromEntries(all) });
    return;
  }
  if (channels.get(id)) {
    sendJson(response, { at: now, channel: id, ...programmesOf(guide, id) });
    return;
  }
  const detail = `no channel has the id ${JSON.stringify(id.slice(0, 100))}; see /api/channels`;
  sendProblem(response, { status: 404, title: 'Unknown channel', detail });
}

/** What is on now and next on a channel, as the API tells it. */
export function programmesOf(guide: Guide, id: string): NonNullable<ChannelView['programme']> {
  const { now, next } = guide.nowAndNext(id);
  return { now: programmeView(now), next: programmeView(next) };
}

function programmeView(programme: Listed | undefined): (ProgrammeView & { readonly subTitle: string | null }) | null {
  if (!programme) return null;
  const { startMs, stopMs, title, subTitle } = programme;
  const [start, stop] = [new Date(startMs).toISOString(), new Date(stopMs).toISOString()];
  return { start, stop, title, subTitle: subTitle || null };
}
