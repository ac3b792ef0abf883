import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Whether a request carries the token, as `Authorization: Bearer <token>`. Where there is no token, nobody does. */
export function isBearer({ headers }: IncomingMessage, token: string | undefined): boolean {
  const [, given] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? [];
  if (token === undefined || given === undefined) return false;
  // Of one length, and in a time that tells nothing of where they differ.
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
