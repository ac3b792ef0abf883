import type { Channels } from '../channel/channels.ts';
import type { Outputs } from '../outputs.ts';
import type { Picture, Previews } from '../preview/previews.ts';
import { hlsRoutes } from './hls-routes.ts';
import { sendJson, sendProblem } from './responses.ts';
import type { Exchange, Routes } from './router.ts';

export function outputRoutes(channels: Channels, outputs: Outputs): Routes {
  return {
    ...hlsRoutes(channels, outputs),
    'GET /channels/:id/preview.jpg': (exchange) => preview(exchange, channels, outputs.previews),
    'GET /api/pushes': ({ response }) => sendJson(response, { pushes: outputs.pushes.views }),
  };
}

function preview(exchange: Exchange, channels: Channels, previews: Previews): void {
  const { response, parameters } = exchange;
  const { id = '' } = parameters;
  const channel = channels.get(id);
  const { off } = previews;
  const missing = channel ? off : `no channel has the id ${id.slice(0, 100)}; see /api/channels`;
  if (!channel || missing !== undefined) {
    const title = channel ? 'No preview' : 'Unknown channel';
    sendProblem(response, { status: 404, title, detail: missing ?? '' });
    return;
  }
  response.setHeader('Cache-Control', 'no-cache');
  const picture = previews.of(channel);
  if (picture) sendPicture(exchange, picture);
  // It is not watched, or its first picture is being made.
  else response.writeHead(204).end();
}

function sendPicture({ request, response }: Exchange, { jpeg, etag, at }: Picture): void {
  response.setHeader('ETag', etag);
  response.setHeader('Last-Modified', new Date(at).toUTCString());
  response.setHeader('Age', Math.max(0, Math.floor((Date.now() - at) / 1_000)));
  if (request.headers['if-none-match']?.split(/,\s*/).includes(etag)) {
    response.writeHead(304).end();
    return;
  }
  response.writeHead(200, { 'Content-Type': 'image/jpeg', 'Content-Length': jpeg.length });
  response.end(jpeg);
}
