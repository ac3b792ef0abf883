import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Registry } from '@prometheus-io/client';
import makeRouter, { type HTTPMethod, type HTTPVersion, type Instance } from 'find-my-way';
import { redactCredentials } from 'holdfast';
import { ASSETS } from '../assets.ts';
import type { Channels } from '../channel/channels.ts';
import type { Config } from '../config/config.ts';
import { PROFILES } from '../config/schema.ts';
import type { PublishedDevice } from '../device/published-device.ts';
import type { Catalogue } from '../directory/catalogue.ts';
import type { Logger } from '../log.ts';
import type { Outputs } from '../outputs.ts';
import { isProfile } from '../pipeline/profiles.ts';
import type { Readiness } from '../readiness.ts';
import { announceRoutes } from './announce-routes.ts';
import { deviceRoutes } from './device-routes.ts';
import { eventsRoutes, type Told } from './events-routes.ts';
import { guideRoutes } from './guide-routes.ts';
import { misdirected, type Names } from './host-guard.ts';
import { type OperatorDesk, operatorRoutes } from './operator-routes.ts';
import { outputRoutes } from './output-routes.ts';
import { send, sendJson, sendProblem, setSecurityHeaders } from './responses.ts';
import { streamChannel } from './stream.ts';
import type { TokenGate } from './token-gate.ts';
import type { TrustedProxies } from './trusted-proxies.ts';
import type { Viewers } from './viewers.ts';
import { publicStream } from './views.ts';

/** What the routes show, and how. */
export interface RouterOptions {
  readonly channels: Channels;
  readonly viewers: Viewers;
  readonly proxies: TrustedProxies;
  /** This publisher as an HDHomeRun. */
  readonly device: PublishedDevice;
  readonly config: () => Config;
  readonly outputs: Outputs;
  readonly told: Told;
  readonly catalogue: Catalogue;
  readonly registry: Registry;
  readonly demo: boolean;
  /** What the addresses of channels begin with, as others see this publisher. */
  readonly baseUrl: () => string;
  readonly readiness: Readiness;
  /** What could not be answered by a fault of this program is told there. */
  readonly log: Logger;
  /** Who may change something. */
  readonly operator: OperatorDesk;
  /** Who may announce channels. */
  readonly publishGate: TokenGate;
  /** Under which names it is known. */
  readonly names: Names;
}

/** One request, and where its answer goes. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly parameters: Readonly<Record<string, string | undefined>>;
  readonly query: URLSearchParams;
  /** The address of who asks. */
  readonly client: string;
}

export type Handler = (exchange: Exchange) => unknown;

/** By method and path: `GET /api/channels`. What answers to GET answers to HEAD as well. */
export type Routes = Readonly<Record<string, Handler>>;

/** Everything that is served, by its method and path. */
export function createRouter(options: RouterOptions): RequestListener {
  const router = makeRouter({
    defaultRoute: (request, response) => nothingHere(router, request, response as ServerResponse),
  });
  for (const [route, handler] of Object.entries(routesOf(options))) {
    const [method, path] = route.split(' ') as [HTTPMethod, string];
    router.on(method === 'GET' ? ['GET', 'HEAD'] : method, path, (given, answer, parameters) => {
      const [request, response] = [given as IncomingMessage, answer as ServerResponse];
      const query = new URLSearchParams(/\?.*/s.exec(request.url ?? '')?.[0]);
      const client = options.proxies.clientOf(request);
      return handle({ request, response, parameters, query, client }, handler, options.log);
    });
  }
  return (request, response) => {
    setSecurityHeaders(response);
    const [path = ''] = request.url?.split('?') ?? [];
    const problem = misdirected(options.names, request.headers.host, path);
    if (problem) sendProblem(response, problem);
    else router.lookup(request, response);
  };
}

function routesOf(options: RouterOptions): Routes {
  const { channels, outputs, registry, told } = options;
  return {
    ...assetRoutes(),
    ...outputRoutes(channels, outputs),
    ...eventsRoutes(told),
    ...guideRoutes(options.catalogue.guide, channels),
    ...announceRoutes({ ...options, announcements: options.catalogue.announcements, gate: options.publishGate }),
    ...deviceRoutes({ ...options, gate: options.operator.gate }),
    'GET /channels/:file': (exchange) => channelFile(exchange, options),
    'GET /api/channels': async ({ response }) => sendJson(response, await channelList(options)),
    'GET /api/public-streams': ({ response }) => {
      sendJson(response, {
        instance: options.catalogue.instance,
        streams: [...channels].map((channel) => publicStream(channel, options.baseUrl())),
      });
    },
    'GET /api/tuners': async ({ response }) => sendJson(response, { devices: await told.overviews.tuners() }),
    'GET /api/locks': async ({ response }) => sendJson(response, { locks: await told.overviews.locks() }),
    ...operatorRoutes(options.operator),
    'GET /healthz': ({ response }) => sendJson(response, { status: 'ok' }),
    'GET /readyz': ({ response }) => sendReadiness(response, options.readiness),
    'GET /metrics': async ({ response }) =>
      send(response, 200, { contentType: registry.contentType, content: await registry.metrics() }),
  };
}

function assetRoutes(): Routes {
  const routes = [...ASSETS].map(([path, { contentType, read }]): [string, Handler] => [
    `GET ${path}`,
    ({ response }) => send(response, 200, { contentType, content: read() }),
  ]);
  return Object.fromEntries(routes);
}

function channelFile(exchange: Exchange, { channels, viewers }: RouterOptions): Promise<void> | undefined {
  const { response, parameters, query } = exchange;
  const { file = '' } = parameters;
  const id = /^([A-Za-z0-9._-]+)\.ts$/.exec(file)?.[1];
  const channel = id === undefined ? undefined : channels.get(id);
  const profile = query.get('profile') ?? undefined;
  if (profile !== undefined && !isProfile(profile)) return unknownProfile(response, profile);
  if (channel) return streamChannel(exchange, { channel, viewers, profile });
  const known = [...channels].map(({ entry }) => entry.id).slice(0, 20);
  const detail = `no channel has the path /channels/${file.slice(0, 100)}; see /api/channels`;
  sendProblem(response, { status: 404, title: 'Unknown channel', detail, known });
  return undefined;
}

function unknownProfile(response: ServerResponse, profile: string): undefined {
  const detail = `there is no profile ${JSON.stringify(profile.slice(0, 40))}; take ${PROFILES.join(', ')}`;
  sendProblem(response, { status: 404, title: 'Unknown profile', detail, known: PROFILES });
}

async function channelList({ told, demo }: RouterOptions): Promise<object> {
  return { now: new Date().toISOString(), demo, channels: await told.overviews.channels() };
}

function sendReadiness(response: ServerResponse, readiness: Readiness): void {
  const reasons = readiness.reasons();
  const ready = reasons.length === 0;
  sendJson(response, { ready, reasons, warnings: readiness.warnings() }, ready ? 200 : 503);
}

async function handle(exchange: Exchange, handler: Handler, log: Logger): Promise<void> {
  const { request, response } = exchange;
  try {
    await handler(exchange);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    // Who asked may have gone in the middle of it.
    if (!response.destroyed)
      log.error({ err: error }, `${request.method} ${request.url?.slice(0, 200)} failed: ${detail}`);
    if (response.headersSent) response.destroy();
    else sendProblem(response, { status: 500, title: 'Internal error', detail: redactCredentials(detail) });
  }
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'] as const;

/** No path, or no such method of it. */
function nothingHere(
  router: Instance<HTTPVersion.V1>,
  { url = '' }: { url?: string | undefined },
  response: ServerResponse,
): void {
  const [path = ''] = url.split('?');
  const allowed = METHODS.filter((method) => router.find(method, path));
  const shown = path.slice(0, 100);
  if (allowed.length === 0) {
    sendProblem(response, { status: 404, title: 'Not found', detail: `nothing is at ${shown}` });
    return;
  }
  response.setHeader('Allow', allowed.join(', '));
  sendProblem(response, { status: 405, title: 'Method not allowed', detail: `${shown} takes ${allowed.join(', ')}` });
}
