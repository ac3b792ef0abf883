import type { RequestListener, ServerResponse } from 'node:http';
import type { Registry } from '@prometheus-io/client';
import makeRouter from 'find-my-way';
import { redactCredentials, SourceLock } from 'holdfast';
import { ASSETS } from '../assets.ts';
import type { Channels } from '../channel/channels.ts';
import type { LineupDevice } from '../directory/lineup-device.ts';
import { send, sendJson, sendProblem, setSecurityHeaders } from './responses.ts';
import { streamChannel } from './stream.ts';
import { channelView, publicStream } from './views.ts';

/** What the routes show, and how. */
export interface RouterOptions {
  readonly channels: Channels;
  readonly tuners: readonly LineupDevice[];
  readonly registry: Registry;
  readonly demo: boolean;
  readonly lockDir: string | undefined;
  /** What the addresses of channels begin with, as others see this publisher. */
  readonly baseUrl: () => string;
  /** Why this publisher can't serve now; empty if it can. */
  readonly unready: () => readonly string[];
}

type Handler = (response: ServerResponse, parameters: Readonly<Record<string, string | undefined>>) => unknown;

/** Everything that is served, by its path; read-only. */
export function createRouter(options: RouterOptions): RequestListener {
  const router = makeRouter({ defaultRoute: (request, response) => notFound(request, response as ServerResponse) });
  for (const [path, handler] of Object.entries(routesOf(options))) {
    router.on(['GET', 'HEAD'], path, (_request, response, parameters) =>
      handle(response as ServerResponse, () => handler(response as ServerResponse, parameters)),
    );
  }
  return (request, response) => {
    setSecurityHeaders(response);
    if (request.method === 'GET' || request.method === 'HEAD') router.lookup(request, response);
    else notAllowed(response);
  };
}

function routesOf(options: RouterOptions): Record<string, Handler> {
  const { channels, tuners, registry, lockDir } = options;
  return {
    ...assetRoutes(),
    '/channels/:file': (response, { file = '' }) => channelFile(response, file, channels),
    '/api/channels': async (response) => sendJson(response, await channelList(options)),
    '/api/public-streams': (response) => {
      sendJson(response, { streams: [...channels].map((channel) => publicStream(channel, options.baseUrl())) });
    },
    '/api/tuners': async (response) =>
      sendJson(response, { devices: await Promise.all(tuners.map((tuner) => tuner.view())) }),
    '/api/locks': async (response) => sendJson(response, { locks: await SourceLock.list({ dir: lockDir }) }),
    '/healthz': (response) => sendJson(response, { status: 'ok' }),
    '/readyz': (response) => readiness(response, options.unready()),
    '/metrics': async (response) =>
      send(response, 200, { contentType: registry.contentType, content: await registry.metrics() }),
  };
}

function assetRoutes(): Record<string, Handler> {
  const routes = [...ASSETS].map(([path, { contentType, read }]): [string, Handler] => [
    path,
    (response) => send(response, 200, { contentType, content: read() }),
  ]);
  return Object.fromEntries(routes);
}

function channelFile(response: ServerResponse, file: string, channels: Channels): Promise<void> | undefined {
  const id = /^([A-Za-z0-9._-]+)\.ts$/.exec(file)?.[1];
  const channel = id === undefined ? undefined : channels.get(id);
  if (channel) return streamChannel(response, channel);
  const known = [...channels].map(({ entry }) => entry.id).slice(0, 20);
  const detail = `no channel has the path /channels/${file.slice(0, 100)}; see /api/channels`;
  sendProblem(response, { status: 404, title: 'Unknown channel', detail, known });
  return undefined;
}

async function channelList({ channels, demo, lockDir }: RouterOptions): Promise<object> {
  const locks = await SourceLock.list({ dir: lockDir });
  return { now: new Date().toISOString(), demo, channels: [...channels].map((channel) => channelView(channel, locks)) };
}

function readiness(response: ServerResponse, reasons: readonly string[]): void {
  const ready = reasons.length === 0;
  sendJson(response, { ready, reasons }, ready ? 200 : 503);
}

async function handle(response: ServerResponse, work: () => unknown): Promise<void> {
  try {
    await work();
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    if (response.headersSent) response.destroy();
    else sendProblem(response, { status: 500, title: 'Internal error', detail: redactCredentials(detail) });
  }
}

function notFound({ url = '' }: { url?: string | undefined }, response: ServerResponse): void {
  const [path = ''] = url.split('?');
  sendProblem(response, { status: 404, title: 'Not found', detail: `nothing is at ${path.slice(0, 100)}` });
}

function notAllowed(response: ServerResponse): void {
  response.setHeader('Allow', 'GET, HEAD');
  sendProblem(response, { status: 405, title: 'Method not allowed', detail: 'everything here is read-only' });
}
