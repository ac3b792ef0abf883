import { redactCredentials } from 'holdfast';
import { expect, test } from 'vitest';
import { redactArguments, redactCommand } from '../../src/internal/redact.ts';

test.each<readonly [string, string]>([
  ['rtsp://admin:hunter2@10.0.0.5/1', 'rtsp://***@10.0.0.5/1'],
  ['http://token@host/', 'http://***@host/'],
  ['rtsp://admin:p@ss@w0rd@10.0.0.5/1 next', 'rtsp://***@10.0.0.5/1 next'],
  ['rtsp://joe@home@10.0.0.5/logo@2x.png', 'rtsp://***@10.0.0.5/logo@2x.png'],
  ["opening 'http://joe:it's/a#very?bad@pass@host:80/a' failed", "opening 'http://***@host:80/a' failed"],
  ['http://host/a?x=1&token=hunter2&y=2', 'http://host/a?x=1&token=***&y=2'],
  ['http://host/?api-key=hunter2;auth_token=hunter2', 'http://host/?api-key=***;auth_token=***'],
  ['http://host/?%74oken=hunter2&X-Amz-Signature=hunter2', 'http://host/?%74oken=***&X-Amz-Signature=***'],
  ['http://proxy/?url=http://camera/?token=hunter2', 'http://proxy/?url=http://camera/?token=***'],
  ['http://proxy/http%3A%2F%2Fjoe%3Ahunter2%40camera', 'http://proxy/http%3A%2F%2F***@camera'],
  [
    'http://proxy/?url=http%3A%2F%2Fcamera%2F%3Ftoken%3Dhunter2',
    'http://proxy/?url=http%3A%2F%2Fcamera%2F%3Ftoken%3D***',
  ],
  ['http://proxy/?url=a%253Fb%253D1%2526token%253Dhunter2&c', 'http://proxy/?url=a%253Fb%253D1%2526token%253D***&c'],
  ['rtsp://dvr/user=joe&password=hunter2&channel=1', 'rtsp://dvr/user=***&password=***&channel=1'],
  ['rtsp://dvr/user=joe_password=hunter2_channel=1', 'rtsp://dvr/user=***'],
  ['rtsp://dvr/channel=1_password=hunter2', 'rtsp://dvr/channel=1_password=***'],
  ['srt://host:9000?passphrase=hunter2&mode=caller', 'srt://host:9000?passphrase=***&mode=caller'],
  ['http://host/a?key=hunter2&x=1', 'http://host/a?key=***&x=1'],
  ['http://host/a?stream_key=hunter2&sid=4', 'http://host/a?stream_key=***&sid=4'],
  ...['key', 'apikey', 'api_key', 'access_token', 'auth', 'password', 'pass', 'pwd', 'sig', 'signature', 'ticket'].map(
    (name): [string, string] => [`http://host/a?${name}=hunter2`, `http://host/a?${name}=***`],
  ),
  ['-headers Authorization: Basic hunter2', '-headers Authorization: ***'],
  ['{"Authorization":"Bearer hunter2","a":1}', '{"Authorization":"***","a":1}'],
  ['two http://a:hunter2@b/ and http://c:hunter2@d/', 'two http://***@b/ and http://***@d/'],
])('%s is shown as %s', (text, shown) => {
  expect(redactCredentials(text)).toBe(shown);
});

test.each([
  ['publisher --operator-token hunter2 --port 80', 'publisher --operator-token *** --port 80'],
  ['a --api-key=hunter2 -password hunter2', 'a --api-key=*** -password ***'],
  ['a --operator-token=-hunter2 --port 80', 'a --operator-token=*** --port 80'],
  ['a --no-token --port 80', 'a --no-token --port 80'],
  ['a --no-auth film.ts', 'a --no-auth film.ts'],
  ['ffmpeg -decryption_key hunter2 -pass 1 -passlogfile log', 'ffmpeg -decryption_key *** -pass 1 -passlogfile log'],
  ['ffmpeg -force_key_frames 0 -keyint 50', 'ffmpeg -force_key_frames 0 -keyint 50'],
  ['sh -c "API_KEY=hunter2 PASS=hunter2 a --token-file /t"', 'sh -c "API_KEY=*** PASS=*** a --token-file /t"'],
  ['curl -u joe:hunter2 --proxy-user=joe:hunter2 http://h/', 'curl -u *** --proxy-user=*** http://h/'],
  ['docker run -u 1000:1000 -u joe image', 'docker run -u 1000:1000 -u joe image'],
  ['a --source x=http://joe:hunter2@b/', 'a --source x=http://***@b/'],
])('of a command line, %s is shown as %s', (command, shown) => {
  expect(redactCommand(command)).toBe(shown);
});

test('arguments are shown as the command line of them is', () => {
  const args = ['--token', 'hunter2 x', 'http://joe:hunter2@h/', '--api-key=hunter2', '-i', 'a b', '--no-token', 'c'];
  const shown = ['--token', '***', 'http://***@h/', '--api-key=***', '-i', 'a b', '--no-token', 'c'];
  expect(redactArguments(args)).toEqual(shown);
});

test.each(['http://host:5004/auto/v5.1?duration=60', 'me@example.com wrote', 'pid 5 since 10:46:15', '?a?b?c'])(
  '%s is shown as it is',
  (text) => {
    expect(redactCredentials(text)).toBe(text);
  },
);

test.each([
  '?',
  '&a',
  '-a',
  ' -u a',
  ' a_',
  'key',
  'a',
  'a://b:',
  ':',
  '@',
  'cookie ',
  'http://',
  '%3A%2F%2F',
  '%3Fa%3D',
  '/a=',
])('the time is linear in a text of many %j', (part) => {
  const text = part.repeat(128 * 1024);
  const before = process.cpuUsage();
  redactCommand(text);
  expect(process.cpuUsage(before).user).toBeLessThan(2_000_000);
});
