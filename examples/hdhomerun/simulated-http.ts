import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import Router from 'find-my-way';
import {
  deviceXml,
  discoverDocument,
  lineupDocument,
  lineupM3u,
  lineupStatusDocument,
  lineupXml,
  tunerDocument,
} from './device-documents.ts';
import type { SimulatedDevice } from './simulated-device.ts';
import { scanOf, servedChannels, servedDevice, servedTuner } from './simulated-documents.ts';
import { simulatedGuide } from './simulated-guide.ts';
import { refuse } from './simulated-stream.ts';

const GUIDE_PATH = '/api/xmltv';
const GARBAGE = '<html><body>Restarting…</body></html>';

/** How the device is reached by the client that asks. */
export interface Origins {
  readonly http: string;
  readonly stream: string;
}

/** What a stream request asks for: `/auto/v5.1?duration=10`. */
export interface StreamRequest {
  readonly resource: string;
  readonly channel: string;
  readonly query: Readonly<Record<string, string>>;
}

export interface HttpOptions {
  readonly device: SimulatedDevice;
  readonly originsFor: (localAddress: string) => Origins;
  readonly openStream: (wanted: StreamRequest, request: IncomingMessage, response: ServerResponse) => void;
}

/** The device's web server, not yet listening. */
export function createDeviceServer({ device, originsFor, openStream }: HttpOptions): Server {
  const origins = (request: IncomingMessage) => originsFor(request.socket.localAddress ?? '127.0.0.1');
  const router = Router<Router.HTTPVersion.V1>({ defaultRoute: (_request, response) => refuse(response, 404) });
  addDocuments(router, device, origins);
  router.on(['GET', 'HEAD'], '/:resource/:channel', (request, response, params, _store, query) => {
    openStream({ resource: params.resource ?? '', channel: params.channel ?? '', query }, request, response);
  });
  return createServer((request, response) => {
    response.setHeader('Server', 'HDHomeRun/1.0');
    response.setHeader('Connection', 'close');
    response.on('error', () => {}); // the client is gone; `close` says so
    router.lookup(request, response);
  });
}

type Instance = Router.Instance<Router.HTTPVersion.V1>;

function addDocuments(router: Instance, device: SimulatedDevice, origins: (request: IncomingMessage) => Origins): void {
  const document = (path: string, make: (request: IncomingMessage) => Reply) => {
    router.on(['GET', 'HEAD'], path, (request, response) => {
      if (!misbehaves(device, path, response)) reply(response, make(request));
    });
  };
  const lineup = (request: IncomingMessage) => servedChannels(device, origins(request).stream);
  document('/discover.json', (request) => json(discoverDocument(servedDevice(device), origins(request).http)));
  document('/device.xml', (request) => xml(deviceXml(servedDevice(device), origins(request).http)));
  document('/lineup.json', (request) => json(lineupDocument(lineup(request))));
  document('/lineup.xml', (request) => xml(lineupXml(lineup(request))));
  document('/lineup.m3u', (request) => ({ type: 'application/x-mpegurl', body: lineupM3u(lineup(request)) }));
  document('/lineup_status.json', () => json(lineupStatusDocument(scanOf(device))));
  document('/status.json', () =>
    json(device.tuners.states().map((state) => tunerDocument(state.resource, servedTuner(device, state)))),
  );
  // No device has this: it stands for the makers' service, so that a demo has a guide without the internet.
  document(GUIDE_PATH, () => xml(simulatedGuide(device.channels, Date.now())));
  router.on('POST', '/lineup.post', (_request, response, _params, _store, query) => {
    response.writeHead(changeLineup(device, query.scan) ? 200 : 400).end();
  });
}

function changeLineup(device: SimulatedDevice, scan: string | undefined): boolean {
  if (scan === 'start') device.startScan();
  else if (scan === 'abort') device.abortScan();
  else return false;
  return true;
}

interface Reply {
  readonly type: string;
  readonly body: string;
}

function json(document: object): Reply {
  return { type: 'application/json; charset="utf-8"', body: JSON.stringify(document) };
}

function xml(body: string): Reply {
  return { type: 'application/xml', body };
}

function reply(response: ServerResponse, { type, body }: Reply): void {
  response
    .writeHead(200, {
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'no-cache',
      'Access-Control-Allow-Origin': '*',
    })
    .end(body);
}

/** Answers in the way that was ordered, if one was. */
function misbehaves(device: SimulatedDevice, path: string, response: ServerResponse): boolean {
  const kind = path === GUIDE_PATH ? 'guide' : path.slice(1).replace('.json', '');
  const wanted = ['empty', 'garbage', 'hang'].map((how) => `${how}-${kind}` as 'empty-lineup');
  const fault = device.faults.drawForDocument('error-5xx', 'reset', ...wanted)?.fault;
  if (fault === undefined) return false;
  if (fault === 'error-5xx') refuse(response, 500);
  else if (fault === 'reset') response.socket?.resetAndDestroy();
  else if (fault.startsWith('empty')) reply(response, kind === 'guide' ? xml('<tv/>') : json([]));
  else if (fault.startsWith('garbage')) reply(response, { type: 'text/html', body: GARBAGE });
  return true;
}
