import type { EventLog } from '../events.ts';
import { LiveFeed } from './live-feed.ts';
import { type Observed, Overviews } from './overview.ts';
import { sendJson, sendProblem } from './responses.ts';
import type { Exchange, Routes } from './router.ts';

/** What the dashboard reads. */
export interface Told {
  readonly overviews: Overviews;
  readonly feed: LiveFeed;
  readonly events: EventLog;
}

export function toldOf(observed: Observed, events: EventLog): Told {
  const overviews = new Overviews(observed);
  return { overviews, feed: new LiveFeed(overviews, events), events };
}

const RETRY_SECONDS = 5;

export function eventsRoutes({ overviews, feed, events }: Told): Routes {
  return {
    'GET /api/events': (exchange) => stream(exchange, feed),
    'GET /api/overview': async (exchange) => {
      const { events: fresh, missed } = events.after(lastKnown(exchange));
      sendJson(exchange.response, { ...(await overviews.take()), events: fresh, missed });
    },
    'GET /api/orphans': async ({ response }) => sendJson(response, { orphans: await overviews.orphans() }),
  };
}

function stream(exchange: Exchange, feed: LiveFeed): void {
  const { request, response, client } = exchange;
  if (request.method === 'HEAD') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' }).end();
    return;
  }
  if (feed.isFullFor(client)) {
    response.setHeader('Retry-After', RETRY_SECONDS);
    const detail =
      'too many dashboards are open, of all or of this address, or this publisher stops; /api/overview tells the same once';
    sendProblem(response, { status: 503, title: 'No more event streams', detail });
    return;
  }
  feed.join(response, client, lastKnown(exchange));
}

/** A browser sends the header when it comes again by itself, and can't be told to when a page opens the stream anew. */
function lastKnown({ request, query }: Exchange): string | undefined {
  const header = request.headers['last-event-id'];
  return (typeof header === 'string' ? header : undefined) ?? query.get('after') ?? undefined;
}
