import fs, { linkSync, mkdirSync, rmSync, type statSync, symlinkSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sourceKey } from 'holdfast';
import { expect, onTestFinished, test, vi } from 'vitest';
import { sourceIdentities } from '../../src/source-lock/key.ts';
import { temporaryDirectory } from '../support/temporary.ts';

test.each([
  ['http://example.com/a', 'HTTP://user:pass@EXAMPLE.com.:80/a#part'],
  ['http://example.com/a?x=1&y=2', 'http://example.com/a?y=2&x=1&token=abc&PASSWORD=x'],
  ['rtsp://camera/1', 'RTSP://admin:pw@Camera:554/1'],
  ['https://example.com/', 'https://example.com'],
  ['hdhomerun:1234ABC2/v5.1', 'HDHomeRun:1234abc2/v5.1'],
  ['udp://239.0.0.1:1234', 'udp://@239.0.0.1:1234'],
  ['udp://0.0.0.0:1234', 'udp://@:1234'],
  ['srt://0.0.0.0:9000?mode=listener', 'srt://:9000?mode=listener'],
  ['rtsp://camera/', 'rtsp://camera'],
  ['http://example.com/%2F', 'http://example.com/%2f'],
  ['http://tuner:5004/auto/v5.1', 'http://tuner:5004/%61uto/v5%2e1'],
  ['http://tuner:5004/auto/v5.1', 'cache:async:http://tuner:5004/auto/v5.1'],
  ['rtsp://b%C3%BCcher.example/1', 'rtsp://xn--bcher-kva.example/1'],
  ['rtsp://127.0.0.1/1', 'rtsp://0x7f.1/1'],
  ['rtsp://a%2Fb/1', 'rtsp://A%2fb/1'],
  ['rtmps://live/1', 'rtmps://live:443/1'],
  ["rtsp://h/a:b|'^[c]\\", 'rtsp://h/a%3ab%7c%27%5E%5Bc%5D%5C'],
  ['http://h/?a=b+c&d', 'http://h/?&d=&a=b%20c'],
  ['http://h/?a=b:c/%', 'http://h/?%61=b%3ac%2F%25'],
  ['hdhomerun:1234ABC2-0', 'HDHomeRun://1234abc2-0'],
  ['hdhomerun:10312345/v5.1', 'hdhomerun://10312345/v5.1'],
  ['srt://h:9000?streamid=#!::r=cam,m=request', 'srt://h:9000?streamid=%23!::r=cam,m=request'],
  ['http://h/?key=a%62', 'http://h/?key=%61b'],
  ['http://h/?url=http%3A%2F%2Fcamera%2F%3Fkey%3Da%2562', 'http://h/?url=http%3A%2F%2Fcamera%2F%3Fkey%3D%61b'],
  ['http://h/?url=http%3A%2F%2Fcamera%2F1', 'http://h/?url=http%3A%2F%2Fjoe%3Apw%40camera%2F1'],
])('%s and %s are one source', (one, other) => {
  expect(sourceKey(one)).toBe(sourceKey(other));
  expect(sourceKey(new URL(one))).toBe(sourceKey(other));
});

test.each([
  ['http://example.com/a', 'http://example.com/A'],
  ['http://example.com/a', 'https://example.com/a'],
  ['http://example.com/?key=a', 'http://example.com/?key=b'],
  ['http://example.com/key=a/1', 'http://example.com/key=b/1'],
  ['http://h/?url=http%3A%2F%2Fcamera%2F%3Fkey%3Da', 'http://h/?url=http%3A%2F%2Fcamera%2F%3Fkey%3Db'],
  ['http://example.com/a', 'http://example.com:8080/a'],
  ['http://example.com/?a=1&a=2', 'http://example.com/?a=2&a=1'],
  ['http://example.com/?a=b%26c=d', 'http://example.com/?a=b&c=d'],
  ['hdhomerun:1234ABC2/v5.1', 'hdhomerun:1234ABC2/v5.2'],
  ['hdhomerun://10312345/v5.1', 'hdhomerun://0.157.90.153/v5.1'],
  ['http://h/?a=%FE', 'http://h/?a=%FF'],
  ['http://h/?a=b%2Bc', 'http://h/?a=b+c'],
  ['http://h/?a=1;b=2', 'http://h/?b=2;a=1'],
  ['http://h/?id=1@mux', 'http://h/?id=2@mux'],
  ['http://h/a%2Fb', 'http://h/a/b'],
  ['http://h/a', 'http://h/a/'],
  ['http://h/a', 'http://h//a'],
  ['http://proxy/http://camera:80/a@b', 'http://proxy/http://camera:80/c@b'],
  ['http://proxy/?url=http://camera:80/a@b', 'http://proxy/?url=http://camera:80/c@b'],
  ['http://proxy/http%3A%2F%2Fjoe%3Apw%40camera', 'http://proxy/https%3A%2F%2Fjoe%3Apw%40camera'],
  ['http://proxy/http%3A%2F%2Fcamera%2F%3Ftoken%3Da/1', 'http://proxy/http%3A%2F%2Fcamera%2F%3Ftoken%3Da/2'],
  ['http://proxy/?url=http%3A%2F%2Fcamera%2Ftoken%3Da%2F1', 'http://proxy/?url=http%3A%2F%2Fcamera%2Ftoken%3Da%2F2'],
  ['http://h/?a=b:%252F', 'http://h/?a=b%253A%252F'],
  ['rtsp://dvr/user=a_password=b_channel=1.sdp', 'rtsp://dvr/user=a_password=b_channel=2.sdp'],
  ['srt://h:9000?streamid=#!::r=cam1', 'srt://h:9000?streamid=#!::r=cam2'],
  ['rtsp://a%2Fb/1', 'rtsp://a/1'],
  ['rtsp://a%3A80/1', 'rtsp://a:80/1'],
  ['foo:////host/1', 'foo://host/1'],
  ['foo:joe:secret@/1', 'foo:/1'],
  ['rtsp://a../1', 'rtsp://a./1'],
  ['file:package.json', 'file:package.json '],
  ['a', ' a'],
  ['\u00e9', 'e\u0301'],
  ['a?token=b', 'a?token=c'],
  ['/dev/null', '/dev/zero'],
])('%s and %s are two sources', (one, other) => {
  expect(sourceKey(one)).not.toBe(sourceKey(other));
});

test('a file is one source under all its names, before and after it is renamed', () => {
  const directory = temporaryDirectory();
  const file = join(directory, 'a b.ts');
  writeFileSync(file, '');
  linkSync(file, join(directory, 'hard'));
  symlinkSync(file, join(directory, 'soft'));
  mkdirSync(join(directory, 'below'));
  const names = [file, join(directory, 'hard'), join(directory, 'soft'), join(directory, 'below/../a b.ts')];
  expect(new Set([...names, pathToFileURL(file)].map(sourceKey)).size).toBe(1);
});

test('a path that does not exist yet is known by its directory, however that is reached', () => {
  const directory = temporaryDirectory();
  symlinkSync(directory, join(directory, 'loop'));
  expect(sourceKey(join(directory, 'new'))).toBe(sourceKey(join(directory, 'loop/new')));
  expect(sourceKey(join(directory, 'new'))).not.toBe(sourceKey(join(directory, 'other')));
});

/** The locks that are taken for the same file before it is made, while it is there, and after it is removed. */
test.each([
  ['by one name', 'file', 'file'],
  ['by a link, and by its name', 'link', 'file'],
  ['by its name, and by a link', 'file', 'link'],
  ['by two links', 'link', 'link-to-link'],
  ['by a link in another directory', 'below/../link-to-link', 'below/up'],
])('whoever has locked a file stays in the way of others when it is made or removed: %s', (_, one, other) => {
  const at = (name: string) => `${directory}/${name}`;
  const directory = temporaryDirectory();
  mkdirSync(at('below'));
  for (const [link, target] of Object.entries({ link: 'file', 'link-to-link': at('link'), 'below/up': '../file' })) {
    symlinkSync(target, at(link));
  }
  const [before, keyBefore] = [sourceIdentities(at(one)), sourceKey(at(other))];
  expect(before[0]).toBe(keyBefore);
  writeFileSync(at('file'), '');
  const during = sourceIdentities(at(one));
  expect(before.filter((name) => sourceIdentities(at(other)).includes(name))).not.toEqual([]);
  expect(during[0]).not.toBe(keyBefore);
  rmSync(at('file'));
  expect(during).toContain(sourceKey(at(other)));
  rmSync(at(one), { force: true });
  expect(during).toContain(sourceKey(at(one)));
});

test('a path that is no valid Unicode is what the system makes of it', () => {
  expect(sourceKey('/\ud800')).toBe(sourceKey('/\ufffd'));
});

test('a device is locked by its name too, which is all that is known of it before it is plugged in', () => {
  expect(sourceIdentities('/dev/null')).toEqual([sourceKey('/dev/null'), expect.stringMatching(/^file:.*\/null$/)]);
});

test('a link to what a process alone has, like /dev/stdin, is no name of it', () => {
  const directory = temporaryDirectory();
  symlinkSync('/proc/self/exe', join(directory, 'self'));
  expect(sourceIdentities(join(directory, 'self'))).toEqual([sourceKey(process.execPath)]);
});

test('a path leads where the system takes it: not back from a link', () => {
  const [here, there] = [temporaryDirectory(), temporaryDirectory()];
  mkdirSync(join(there, 'below'));
  symlinkSync(join(there, 'below'), join(here, 'link'));
  for (const directory of [here, there]) writeFileSync(join(directory, 'file'), '');
  for (const name of ['file', 'new', 'no/../new']) {
    expect(sourceKey(`${here}/link/../${name}`)).toBe(sourceKey(join(there, name)));
    expect(sourceKey(`${here}/link/../${name}`)).not.toBe(sourceKey(join(here, name)));
  }
});

test('what follows async: and cache: is a path if it is no URL', () => {
  expect(sourceKey('async:cache:/dev/null')).toBe(sourceKey('/dev/null'));
  expect(sourceKey('cache:package.json')).toBe(sourceKey('package.json'));
});

test('inodes and devices of more than 53 bits are told apart', () => {
  const stat = vi.spyOn(fs, 'statSync');
  syncBuiltinESMExports();
  onTestFinished(() => {
    stat.mockRestore();
    syncBuiltinESMExports();
  });
  const keyOf = (numbers: Record<'dev' | 'ino' | 'rdev', bigint>, isDevice: boolean) => {
    const kind = { isCharacterDevice: () => isDevice, isBlockDevice: () => false };
    // As the system does it: without `bigint` the numbers are rounded.
    stat.mockImplementation(((_, options) =>
      options?.bigint
        ? { ...numbers, ...kind }
        : {
            ...kind,
            dev: Number(numbers.dev),
            ino: Number(numbers.ino),
            rdev: Number(numbers.rdev),
          }) as typeof statSync);
    return sourceKey('/a');
  };
  const large = { dev: 2n ** 53n, ino: 2n ** 53n, rdev: 2n ** 53n };
  expect(keyOf({ ...large, ino: 2n ** 53n + 1n }, false)).not.toBe(keyOf(large, false));
  expect(keyOf({ ...large, dev: 2n ** 53n + 1n }, false)).not.toBe(keyOf(large, false));
  expect(keyOf({ ...large, rdev: 2n ** 53n + 1n }, true)).not.toBe(keyOf(large, true));
});

test.each([
  ['', 'empty string'],
  ['file:', 'empty string'],
  ['a\0b', 'null character'],
  ['file:///%FF', 'valid URL'],
  ['http://', 'valid URL'],
  [5, 'received number'],
])('%j is refused', (source, message) => {
  expect(() => sourceKey(source as string)).toThrow(message);
});

test.each([
  'http://joe:secret@host/a',
  ' http://joe:secret@host/a',
  'async:http://joe:secret@host/a',
  'concat:http://joe:secret@host/a|http://joe:secret@host/b',
  'joe:secret@host/a',
  'http://proxy/?url=http%3A%2F%2Fjoe%3Asecret%40host%2Fa',
  'http://proxy/http://joe:secret@host/a',
  'http://proxy/http%3A%2F%2Fjoe%3Asecret%40host%2Fa/b',
  'http://proxy/http%3A//secret@host/a',
  'http://proxy/?url=http%253A%252F%252Fhost%252F%253Ftoken%253Dsecret',
  'http://host/?key=secret&stream_key=secret',
  'http://host/key=secret/1?url=http%3A%2F%2Fcamera%2F%3Fkey%3Dsecret%26a%3D1',
  'http://host/?api-key=secret&auth_token=secret&%74oken=secret&X-Amz-Signature=secret',
  'http://host/?a;token=secret;b&c=1;password=secret',
  'rtsp://dvr/user=secret_password=secret_channel=1_stream=0.sdp',
  'srt://host:9000?passphrase=secret',
  'rtmp://host/app pubUser=secret pubPasswd=secret',
  'my_camera:secret@host/a?token=secret',
])('no credential of %s is in its key', (source) => {
  expect(sourceKey(source)).not.toContain('secret');
});

test('a file: URL without a slash is a path like any other', () => {
  expect(sourceKey('file:package.json')).toBe(sourceKey('package.json'));
});

test('a broken URL is refused without its password', () => {
  expect(() => sourceKey('http://joe:secret@:99999/')).toThrow(/^(?!.*secret).*valid URL/);
});
