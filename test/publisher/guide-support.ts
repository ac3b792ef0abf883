import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { FileGuide } from '../../examples/publisher/guide/file-guide.ts';
import type { GuideSubject } from '../../examples/publisher/guide/guide-merge.ts';
import { unpacked } from '../../examples/publisher/guide/packed-text.ts';
import type { GuideDocument } from '../../examples/publisher/guide/served-guide.ts';
import { UrlGuide } from '../../examples/publisher/guide/url-guide.ts';
import { readXmltv, textOf, type XmltvProgramme } from '../../examples/xmltv/index.ts';
import { documentOf } from '../xmltv/support.ts';

export const HOUR_MS = 3_600_000;

/** What a guide of here counts its hours from; half an hour ago, so that the first is on for as long as a test can last. */
export const FIRST_HOUR_MS: number = Math.floor(Date.now() / 1_000) * 1_000 - HOUR_MS / 2;

/** A document: of each channel so many programmes of an hour, from so many hours ahead of the one that is on (or ago). */
export function guideOf(
  channels: Readonly<Record<string, { readonly from: number; readonly count: number; readonly title?: string }>>,
): string {
  const heads = Object.keys(channels).map((id) => ({
    kind: 'channel' as const,
    id,
    elements: [named('display-name', id)],
  }));
  const programmes = Object.entries(channels).flatMap(([channel, { from, count, title = channel }]) =>
    Array.from({ length: count }, (_, index): XmltvProgramme => {
      const startMs = FIRST_HOUR_MS + (from + index) * HOUR_MS;
      const elements = [named('title', `${title} ${from + index}`)];
      return { kind: 'programme', channel, startMs, stopMs: startMs + HOUR_MS, attributes: {}, elements };
    }),
  );
  return documentOf([...heads, ...programmes]);
}

function named(name: string, text: string) {
  return { name, attributes: {}, children: [text] };
}

/** A channel of ours. */
export const subject = (id: string, more: Partial<GuideSubject> = {}): GuideSubject => ({
  ...{ id, name: id, number: null, guideNumber: id },
  ...more,
});

/** The titles in a guide, by channel. */
export async function titlesIn({ gzip }: Pick<GuideDocument, 'gzip'>): Promise<Record<string, string[]>> {
  const titles: Record<string, string[]> = {};
  for await (const items of readXmltv(unpacked(gzip))) {
    for (const item of items) {
      if (item.kind === 'channel') titles[item.id] = [];
      else titles[item.channel]?.push(textOf(item.elements.find(({ name }) => name === 'title')));
    }
  }
  return titles;
}

/** A server that answers as it is told, and what it was asked. */
export class GuideServer {
  readonly asked: IncomingMessage[] = [];
  answer: RequestListener = (_, response) => response.end();
  readonly url: string;

  static async start(): Promise<GuideServer> {
    const server = createServer((request, response) => {
      guide.asked.push(request);
      response.on('error', () => {});
      guide.answer(request, response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const guide = new GuideServer((server.address() as AddressInfo).port);
    return guide;
  }

  private constructor(port: number) {
    this.url = `http://127.0.0.1:${port}/guide.xml`;
  }

  gives(document: string | Buffer, headers: Record<string, string> = {}): void {
    this.answer = (_, response) => response.writeHead(200, headers).end(document);
  }
}

/** One that is pulled again at once. */
export class EagerGuide extends UrlGuide {
  override nextPullMs(): number {
    return 20;
  }
}

/** One that is looked at again at once. */
export class EagerFile extends FileGuide {
  override nextPullMs(): number {
    return 20;
  }
}
