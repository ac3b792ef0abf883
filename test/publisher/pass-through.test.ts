import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream, picturesIn } from '../support/transport-stream.ts';
import { makeRecording, PublisherProcess, pidsOfChildren, timed, Viewer } from './support.ts';

const PIECE = 20_000;

/** A receiver that sends a recording piece by piece, and remembers what it has sent. */
async function receiver(recording: Buffer) {
  const sent: Buffer[] = [];
  let open = 0;
  const server = createServer((_, response) => {
    open += 1;
    let at = 0;
    const timer = setInterval(() => {
      if (at >= recording.length) return;
      const piece = recording.subarray(at, at + PIECE);
      at += piece.length;
      sent.push(piece);
      response.write(piece);
    }, 20);
    response.on('close', () => {
      clearInterval(timer);
      open -= 1;
    });
  }).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/live.ts`;
  return { url, sent: () => Buffer.concat(sent), open: () => open };
}

it('what a receiver sends is what viewers get, byte for byte, without any process; it is let go with the last', async () => {
  const path = join(temporaryDirectory(), 'recording.ts');
  await makeRecording(path, 4, 8);
  const source = await receiver(readFileSync(path));
  await using publisher = await PublisherProcess.start([
    ...['--source', `live=${source.url}`, '--discovery', 'off'],
    ...['--lock-dir', temporaryDirectory(), '--state-dir', temporaryDirectory()],
  ]);
  using first = await Viewer.open(`${publisher.url}/channels/live.ts`, { keep: true });
  await first.more(1_000_000);
  using second = await Viewer.open(`${publisher.url}/channels/live.ts`, { keep: true });
  await second.more(500_000);
  expect(pidsOfChildren(publisher.pid)).toEqual([]);
  expect(source.open()).toBe(1);
  const [all, ofFirst, ofSecond] = [source.sent(), Buffer.concat(first.chunks), Buffer.concat(second.chunks)];
  expect(all.indexOf(ofFirst)).toBe(0);
  const begin = all.indexOf(ofSecond);
  expect([begin % 188, begin > 0]).toEqual([0, true]);
  expect(inspectTransportStream(ofSecond)).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
  expect(picturesIn(ofSecond.subarray(0, 200_000))).toBeGreaterThan(0);
  first.leave();
  await eventually(async () => expect((await publisher.channel('live')).viewers).toBe(1));
  second.leave();
  const elapsedMs = await timed(250, () => expect(source.open()).toBe(0));
  console.log(`last viewer to connection closed: ${elapsedMs} ms`);
});
