import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ProcessPool, SourceLock } from 'holdfast';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { Returning } from '../../examples/publisher/channel/returning.ts';
import { SourceList } from '../../examples/publisher/channel/source-list.ts';
import { SourceReader } from '../../examples/publisher/channel/source-reader.ts';
import { seemsWell } from '../../examples/publisher/channel/tuner-check.ts';
import type { Failure } from '../../examples/publisher/failure.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const FAILURE: Failure = { status: 502, title: 'The source could not be read', detail: 'it is gone' };
const lockDir = temporaryDirectory(afterAll);
const SETTINGS = {
  ...{ lockDir, stallTimeoutMs: 10_000, controls: { pool: new ProcessPool({ max: 1 }) } },
  ffmpeg: () => 'ffmpeg',
};
const VIA = { 'X-Holdfast-Via': '0123456789abcdef' };

/** A channel that reads its second source, as the first has failed; `look` asks once how the first is. */
function backupOf(url: string) {
  const list = new SourceList(
    () => ({ allowed: true }),
    () => 60_000,
  );
  list.update([url, '/backup.ts'].map((url, rank) => ({ key: url, rank, source: { url } })));
  const [first, second] = list.all;
  if (!first || !second) throw new Error('there are two');
  list.failed(first, FAILURE, 0);
  list.opening(second);
  list.live(0);
  const probed = vi.spyOn(list, 'probed');
  const reader = new SourceReader('a', SETTINGS, createLog('json'), () => VIA);
  const returning = new Returning({ list, reader, preferAfterMs: () => 60_000, goBack: () => {} });
  onTestFinished(() => returning.stop());
  return { look: () => returning.look(1), heard: () => probed.mock.calls.map(([, isWell]) => isWell) };
}

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}/tv`;
}

describe('a better source that is asked about', () => {
  it.each([['file://server/x.ts'], ['file:///a%ZZ.ts'], ['file:///no\u0000name.ts'], ['http://host:1:2/x.ts']])(
    'has an odd address, %s: it is not well, and nothing else comes of it',
    async (url) => {
      const backup = backupOf(url);
      backup.look();
      await eventually(() => expect(backup.heard()).toEqual([false]));
    },
  );

  it('is not well while another process holds it, though it would answer', async () => {
    const address = await serve((_, response) => void response.end());
    const backup = backupOf(`http://${address}`);
    await using _held = await SourceLock.acquire(`http://${address}`, { dir: lockDir, onWarning: () => {} });
    backup.look();
    await eventually(() => expect(backup.heard()).toEqual([false]));
  });

  it('is asked as it is read: with its password as it is spelled, and by whom it is relayed', async () => {
    const asked: IncomingMessage[] = [];
    const address = await serve((request, response) => {
      asked.push(request);
      response.end();
    });
    const backup = backupOf(`http://me:100%@${address}`);
    backup.look();
    await eventually(() => expect(backup.heard()).toEqual([true]));
    const [{ method, headers } = {}] = asked as [IncomingMessage?];
    const authorization = `Basic ${Buffer.from('me:100%').toString('base64')}`;
    expect([method, headers]).toMatchObject(['HEAD', { authorization, 'x-holdfast-via': VIA['X-Holdfast-Via'] }]);
  });

  it.each([
    [200, true],
    [404, false],
    [410, false],
    [500, false],
    [503, false],
    [508, false],
    // Of a server that answers only those who watch, nothing is known.
    [401, undefined],
    [403, undefined],
    [405, undefined],
    [429, undefined],
    [501, undefined],
  ])('answers %i to a HEAD: %s', async (status, expected) => {
    const address = await serve((_, response) => void response.writeHead(status).end());
    const terms = { isOnSameDevice: false, signal: new AbortController().signal, headers: VIA };
    expect(await seemsWell({ url: `http://${address}` }, terms)).toBe(expected);
  });
});
