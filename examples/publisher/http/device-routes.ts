import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  deviceXml,
  discoverDocument,
  lineupDocument,
  lineupM3u,
  lineupStatusDocument,
  lineupXml,
  type ServedChannel,
  tunerDocument,
} from '../../hdhomerun/index.ts';
import type { Config } from '../config/config.ts';
import { asDevice } from '../device/device-headers.ts';
import { MARKS, type Mark } from '../device/lineup.ts';
import type { PublishedDevice } from '../device/published-device.ts';
import { streamAsDevice } from '../device/streaming.ts';
import { type Body, send, sendProblem } from './responses.ts';
import type { Exchange, Handler, Routes } from './router.ts';
import { sendRefusal, type TokenGate } from './token-gate.ts';
import type { Viewers } from './viewers.ts';

/** What is needed to be an HDHomeRun over HTTP. */
export interface DeviceRoom {
  readonly device: PublishedDevice;
  readonly viewers: Viewers;
  readonly config: () => Config;
  /** Lets who has the operator token change what players see. */
  readonly gate: TokenGate;
}

/** The documents and streams of an HDHomeRun. */
export function deviceRoutes(room: DeviceRoom): Routes {
  const { device } = room;
  const base = (request: IncomingMessage) => baseUrlFor(request, room.config());
  const lineup = ({ request, query }: Exchange) => device.servedChannels(showOf(query), base(request));
  return {
    'GET /discover.json': document(({ request }) => json(discoverDocument(device.served, base(request)))),
    'GET /device.xml': document(({ request }) => xml(deviceXml(device.served, base(request)))),
    'GET /lineup.json': document((exchange) => json(lineupDocument(lineup(exchange)))),
    'GET /lineup.xml': document((exchange) => xml(lineupXml(lineup(exchange)))),
    'GET /lineup.m3u': document((exchange) => m3u(lineup(exchange))),
    'GET /lineup_status.json': document(() => json(lineupStatusDocument(device.scanner.state))),
    'GET /status.json': document(() => json(statusOf(device))),
    'POST /lineup.post': (exchange) => changeLineup(exchange, room),
    'GET /auto/:channel': (exchange) => streamAsDevice(exchange, room),
    'GET /:tuner(^tuner\\d{1,3}$)/:channel': (exchange) =>
      streamAsDevice(exchange, room, Number(exchange.parameters.tuner?.slice('tuner'.length))),
  };
}

function document(make: (exchange: Exchange) => Body): Handler {
  return (exchange) => {
    asDevice(exchange.response);
    send(exchange.response, 200, make(exchange));
  };
}

function json(value: object): Body {
  return { contentType: 'application/json; charset="utf-8"', content: JSON.stringify(value) };
}

function xml(content: string): Body {
  return { contentType: 'application/xml; charset="utf-8"', content };
}

function m3u(channels: readonly ServedChannel[]): Body {
  return { contentType: 'application/x-mpegurl; charset="utf-8"', content: lineupM3u(channels) };
}

function statusOf(device: PublishedDevice): object[] {
  return device.servedTuners().map((tuner) => tunerDocument(tuner.resource, tuner));
}

/** `?tuning` asks for frequencies as well, which these channels have none of. */
function showOf(query: URLSearchParams): 'found' | 'all' | 'favorites' {
  const show = query.get('show');
  return show === 'all' || show === 'favorites' ? show : 'found';
}

const HOST = /^(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(:\d{1,5})?$/i;

/** How who asks reaches this publisher: by the host that was asked, unless another is advertised. */
function baseUrlFor({ headers, socket }: IncomingMessage, { advertise }: Config): string {
  if (advertise !== undefined) return advertise.replace(/\/+$/, '');
  const asked = HOST.test(headers.host ?? '') ? URL.parse(`http://${headers.host}/`) : null;
  if (asked) return asked.origin;
  const { localAddress = '127.0.0.1', localPort } = socket;
  return `http://${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}`;
}

/** `?scan=start|abort` is free to all, as it only reads; `?favorite=+5.1` changes what players see. */
async function changeLineup(exchange: Exchange, room: DeviceRoom): Promise<void> {
  const { response, query } = exchange;
  asDevice(response);
  const [scan, favorite] = [query.get('scan'), query.get('favorite')];
  if (scan === 'start') room.device.scanner.start();
  else if (scan === 'abort') room.device.scanner.abort();
  else if (favorite !== null) return await changeFavorite(exchange, favorite, room);
  else return badRequest(response, 'lineup.post takes scan=start, scan=abort or favorite=+5.1, -5.1 or x5.1');
  response.writeHead(200, { 'Content-Length': 0 }).end();
}

async function changeFavorite(exchange: Exchange, favorite: string, { device, gate }: DeviceRoom): Promise<void> {
  const { response } = exchange;
  const refused = gate.refusal(exchange);
  if (refused) return sendRefusal(response, refused);
  // A plus is a blank in a query, unless it is written %2B; players write it as it is.
  const mark = favorite.charAt(0).replace(' ', '+') as Mark;
  if (!MARKS.includes(mark)) return badRequest(response, 'favorite must begin with +, - or x, then a number');
  const entry = device.lineup.find(favorite.slice(1));
  if (!entry) return badRequest(response, `no channel has the number ${favorite.slice(1, 41)}; see /lineup.json`);
  await device.lineup.mark(entry, mark);
  response.writeHead(200, { 'Content-Length': 0 }).end();
}

function badRequest(response: ServerResponse, detail: string): void {
  sendProblem(response, { status: 400, title: 'Bad request', detail });
}
