import type { IncomingMessage } from 'node:http';
import { redactCredentials } from 'holdfast';
import { boundedText } from '../bounded-text.ts';
import { type Announcement, type Announcements, announcement } from '../directory/announcements.ts';
import { leadsHere } from './host-guard.ts';
import { type Problem, sendJson, sendProblem } from './responses.ts';
import type { Handler, Routes } from './router.ts';
import { sendRefusal, type TokenGate } from './token-gate.ts';

const MAX_BODY_BYTES = 8 * 1024;

export interface AnnounceDesk {
  readonly announcements: Announcements;
  /** Who may announce. */
  readonly gate: TokenGate;
  /** Where this publisher says that it is. */
  readonly baseUrl: () => string;
}

/** How other publishers announce their channels here, with the token of `--publish-token`. */
export function announceRoutes({ announcements, gate, baseUrl }: AnnounceDesk): Routes {
  const forPublishers = (handler: Handler): Handler => {
    return (exchange) => {
      const { response } = exchange;
      const refusal = gate.refusal(exchange);
      if (!refusal) return handler(exchange);
      // What was sent is not read: the connection can't be used again.
      response.setHeader('Connection', 'close');
      return sendRefusal(response, refusal);
    };
  };
  return {
    'PUT /api/public-streams/:id': forPublishers(async ({ request, response, parameters: { id = '' } }) => {
      const parsed = await bodyOf(request);
      if ('status' in parsed) return sendProblem(response, parsed);
      const { value } = parsed;
      if (leadsHere(value.url, request, baseUrl())) return sendProblem(response, A_CIRCLE);
      const put = await announcements.put(id, value);
      if (typeof put === 'object') sendProblem(response, { ...put });
      else sendJson(response, { id, ttlSeconds: value.ttlSeconds }, put === 'new' ? 201 : 200);
    }),
    'DELETE /api/public-streams/:id': forPublishers(async ({ response, parameters: { id = '' } }) => {
      if (await announcements.delete(id)) response.writeHead(204).end();
      else sendProblem(response, { status: 404, title: 'Not announced', detail: 'no announced channel has this id' });
    }),
  };
}

const A_CIRCLE = refused(409, 'A circle', 'this url is one of this publisher itself');

async function bodyOf(request: IncomingMessage): Promise<{ value: Announcement } | Problem> {
  const text = await boundedText(request, MAX_BODY_BYTES);
  if (text === undefined) return refused(413, 'Too large', `the body may have ${MAX_BODY_BYTES} bytes`);
  try {
    const result = announcement.safeParse(JSON.parse(text));
    if (result.success) return { value: result.data };
    const [issue] = result.error.issues;
    const field = issue?.path.join('.') || 'the body';
    return refused(400, 'Bad announcement', redactCredentials(`${field} must be ${issue?.message}`));
  } catch {
    return refused(400, 'Bad announcement', 'the body must be JSON: { "name", "number", "url", "ttlSeconds" }');
  }
}

function refused(status: number, title: string, detail: string): Problem {
  return { status, title, detail };
}
