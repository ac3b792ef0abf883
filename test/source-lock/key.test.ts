import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sourceKey } from 'holdfast';
import { expect, test } from 'vitest';
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
])('%s and %s are one source', (one, other) => {
  expect(sourceKey(one)).toBe(sourceKey(other));
  expect(sourceKey(new URL(one))).toBe(sourceKey(other));
});

test.each([
  ['http://example.com/a', 'http://example.com/A'],
  ['http://example.com/a', 'https://example.com/a'],
  ['http://example.com/a', 'http://example.com:8080/a'],
  ['http://example.com/?a=1&a=2', 'http://example.com/?a=2&a=1'],
  ['http://example.com/?a=b%26c=d', 'http://example.com/?a=b&c=d'],
  ['hdhomerun:1234ABC2/v5.1', 'hdhomerun:1234ABC2/v5.2'],
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

test.each([
  ['', 'empty string'],
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
  'http://host/?api-key=secret&auth_token=secret&%74oken=secret&X-Amz-Signature=secret',
])('no credential of %s is in its key', (source) => {
  expect(sourceKey(source)).not.toContain('secret');
});

test('a file: URL without a slash is a path like any other', () => {
  expect(sourceKey('file:package.json')).toBe(sourceKey('package.json'));
});

test('a broken URL is refused without its password', () => {
  expect(() => sourceKey('http://joe:secret@:99999/')).toThrow(/^(?!.*secret).*valid URL/);
});
