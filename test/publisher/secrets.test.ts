import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, makeRecording, PublisherProcess, pidsOfChildren, Viewer } from './support.ts';

/** In every place where a secret can be, another one, so that the one which shows tells where it was. */
const SECRETS = {
  ...{
    sourceUser: 'u-source-7731',
    source: 'p-source-7731',
    query: 'q-source-7731',
    keyed: 'k-source-7731',
    backup: 'p-backup-7731',
  },
  ...{ device: 'p-device-7731', peer: 'p-peer-7731', guide: 'p-guide-7731', push: 'p-push-7731' },
  ...{ passphrase: 'passphrase-7731', key: 'rtmp-key-7731' },
  ...{ operator: 'the-token-7731-of-who-operates', publish: 'the-token-7731-of-who-publishes' },
};

const PATHS = [
  ...['/', '/api/channels', '/api/public-streams', '/api/tuners', '/api/locks', '/api/orphans', '/api/overview'],
  ...['/api/guide', '/api/pushes', '/xmltv.xml', '/metrics', '/readyz', '/healthz', '/discover.json', '/lineup.json'],
  ...['/lineup.m3u', '/lineup.xml', '/status.json', '/device.xml', '/channels/cam.ts', '/channels/nope.ts'],
];

function filesBelow(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .map((name) => join(path, name))
    .filter((file) => statSync(file).isFile());
}

it('no option that is given as a variable is known to what the publisher runs', async () => {
  const recording = join(temporaryDirectory(), 'recording.ts');
  await makeRecording(recording);
  const env = { HOLDFAST_PUBLISHER_OPERATOR_TOKEN: SECRETS.operator, HOLDFAST_PUBLISHER_SOURCE: `film=${recording}` };
  await using publisher = await PublisherProcess.start(['--lock-dir', temporaryDirectory()], env);
  using viewer = await Viewer.open(`${publisher.url}/channels/film.ts`);
  await viewer.more();
  const pids = pidsOfChildren(publisher.pid);
  expect(pids.length).toBeGreaterThanOrEqual(2); // ffmpeg, and the guard
  for (const pid of pids) expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain('HOLDFAST_PUBLISHER_');
  const stop = { method: 'POST', headers: { Authorization: `Bearer ${SECRETS.operator}` } };
  expect((await ask(`${publisher.url}/api/channels/film/stop`, stop)).status).toBeLessThan(300);
});

it('no secret of the configuration shows: in the log, an answer, a lock, what is kept, or what is printed', async () => {
  // Refuses everything, and so has each URL named in an error.
  const server = createServer((_request, response) => response.writeHead(403).end()).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await eventually(() => expect(server.listening).toBe(true));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const [directory, lockDir, stateDir] = [temporaryDirectory(), temporaryDirectory(), temporaryDirectory()];
  const file = join(directory, 'publisher.json');
  const config = {
    device: [`http://me:${SECRETS.device}@${host}`],
    source: {
      cam: [
        `http://${SECRETS.sourceUser}:${SECRETS.source}@${host}/cam.ts?token=${SECRETS.query}&key=${SECRETS.keyed}`,
        `rtsp://me:${SECRETS.backup}@${host}/cam`,
      ],
    },
    channel: { cam: { backup: `http://me:${SECRETS.backup}@${host}/backup.ts` } },
    peer: [`http://me:${SECRETS.peer}@${host}/`],
    guide: [`http://me:${SECRETS.guide}@${host}/guide.xml`],
    push: {
      srt: { channel: 'cam', url: `srt://${host}?passphrase=${SECRETS.passphrase}` },
      rtmp: { channel: 'cam', url: `rtmp://me:${SECRETS.push}@${host}/live/${SECRETS.key}` },
    },
    ...{ operatorToken: SECRETS.operator, publishToken: SECRETS.publish, logLevel: 'debug' },
  };
  writeFileSync(file, JSON.stringify(config));
  const args = ['--config', file, '--lock-dir', lockDir, '--state-dir', stateDir];
  const seen: string[] = [];
  for (const log of ['pretty', 'json']) {
    await using publisher = await PublisherProcess.start([...args, '--log', log]);
    for (const path of PATHS) seen.push((await ask(publisher.url + path)).text);
    for (const token of [SECRETS.operator, 'wrong-token-wrong-token']) {
      const headers = { Authorization: `Bearer ${token}` };
      seen.push((await ask(`${publisher.url}/api/channels/cam/restart`, { method: 'POST', headers })).text);
    }
    writeFileSync(
      file,
      JSON.stringify({
        ...config,
        device: [`ftp://me:${SECRETS.device}@${host}`],
        operatorToken: SECRETS.operator.slice(0, 12),
      }),
    );
    publisher.kill('SIGHUP');
    await publisher.says(/the configuration is refused/);
    writeFileSync(file, JSON.stringify(config));
    seen.push(publisher.output, ...filesBelow(lockDir).map((path) => path + readFileSync(path, 'latin1')));
  }
  for (const flag of ['--print-config', '--check'])
    seen.push((await new PublisherProcess([...args, flag]).exited).output);
  seen.push(...filesBelow(stateDir).map((path) => path + readFileSync(path, 'latin1')));
  const everything = seen.join('\n');
  const shown = Object.entries(SECRETS).filter(([, secret]) => everything.includes(secret));
  // The one that was refused, too.
  expect(everything).not.toContain(SECRETS.operator.slice(0, 12));
  expect(shown.map(([where]) => where)).toEqual([]);
  expect(everything).toContain(`***@${host}`);
});
