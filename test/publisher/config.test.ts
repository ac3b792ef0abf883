import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../examples/publisher/config/config.ts';
import { parseFlags, UsageError } from '../../examples/publisher/config/flags.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PublisherProcess } from './support.ts';

const load = (...argv: string[]) => loadConfig(parseFlags(argv));

function configFile(content: unknown): string {
  const path = join(temporaryDirectory(), 'publisher.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const DEFAULTS = {
  ...{ port: 8080, bind: '127.0.0.1', device: [], source: {}, peer: [], channel: {}, guide: [], push: {}, demo: false },
  ...{ discovery: 'auto', discoveryPort: 65_001, closeAfterMs: 0, startTimeoutMs: 15_000, stallTimeoutMs: 10_000 },
  ...{ failoverAfterMs: 2_500, preferAfterMs: 60_000, restartCooldownMs: 30_000, maxProcesses: 32 },
  ...{ maxViewers: 10_000, maxViewersTotal: 10_000, maxViewersPerAddress: 256, hardware: 'auto', deinterlace: true },
  ...{ hlsSegmentMs: 1_000, hlsSegments: 8, hlsRing: 'memory', hlsIdleMs: 15_000, preview: true },
  ...{ log: 'pretty', logLevel: 'info' },
};

describe('the configuration', () => {
  it('is the demo if nothing is named', () => {
    expect(load()).toEqual({ ...DEFAULTS, demo: true });
  });

  it.each([
    ['--device', '10.0.0.5'],
    ['--source', 'a=/film.ts'],
    ['--config', ''],
  ])('is no demo with %s', (flag, value) => {
    expect(load(flag, value || configFile({})).demo).toBe(false);
  });

  it('takes every flag', () => {
    const flags = ['--port', '0', '--bind', '0.0.0.0', '--device', '10.0.0.5', '--device', 'http://tuner:8080'];
    const more = ['--source', 'a=http://h/x?y=1', '--demo', '--advertise', 'https://tv.example', '--lock-dir', '/l'];
    const rest = [
      '--close-after-ms',
      '500',
      '--start-timeout-ms',
      '3000',
      '--stall-timeout-ms',
      '4000',
      ...['--restart-cooldown-ms', '0', '--max-processes', '4', '--max-viewers', '5'],
      '--log',
      'json',
    ];
    expect(load(...flags, ...more, ...rest)).toEqual({
      ...DEFAULTS,
      port: 0,
      bind: '0.0.0.0',
      device: ['10.0.0.5', 'http://tuner:8080'],
      source: { a: { url: ['http://h/x?y=1'] } },
      demo: true,
      advertise: 'https://tv.example',
      lockDir: '/l',
      closeAfterMs: 500,
      startTimeoutMs: 3_000,
      stallTimeoutMs: 4_000,
      restartCooldownMs: 0,
      maxProcesses: 4,
      maxViewers: 5,
      log: 'json',
    });
  });

  it('takes a number as a text where a text is wanted', () => {
    expect(load('--lock-dir', '2024', '--bind', '0', '--source', 'a=7')).toMatchObject({
      lockDir: '2024',
      bind: '0',
      source: { a: { url: ['7'] } },
    });
  });

  it('takes a file that can not be looked at now', () => {
    const path = join(temporaryDirectory(), 'loop.ts');
    symlinkSync(path, path);
    expect(load('--source', `a=${path}`).source).toEqual({ a: { url: [path] } });
  });

  it('takes an id of 64 characters, also one that objects have a property of', () => {
    const ids = ['x'.repeat(64), 'constructor', 'toString'];
    const sources = load(...ids.flatMap((id) => ['--source', `${id}=/a`])).source;
    expect(Object.keys(sources)).toEqual(ids);
  });

  it('joins the file and the flags, which win', () => {
    const file = { port: 1, bind: '::1', device: ['a'], source: { x: '/x', y: { url: '/y', name: 'Y', number: '2' } } };
    const config = load('--config', configFile(file), '--port', '2', '--device', 'b', '--source', 'x=/z');
    expect(config).toMatchObject({ port: 2, bind: '::1', device: ['a', 'b'] });
    expect(config.source).toEqual({ x: { url: ['/z'] }, y: { url: ['/y'], name: 'Y', number: '2' } });
  });

  it.each([
    [['--port', '80x'], '--port must be a whole number from 0 to 65535, received "80x"'],
    [['--port', '65536'], '--port must be a whole number from 0 to 65535, received 65536'],
    [['--close-after-ms', '-1'], /^Option '--close-after-ms' argument is ambiguous; --help lists the flags$/],
    [['--source', '__proto__=/a'], '--source must be <id>=<url>, received "__proto__=/a"; <id> is an id: a letter or'],
    [['--source', `${'x'.repeat(65)}=/a`], '--source must be <id>=<url>, received "xxx'],
    [['--log', 'xml'], '--log must be "pretty" or "json", received "xml"'],
    [['--device', 'ftp://x'], '--device must be an IP address, a host name or an http URL, received "ftp://x"'],
    [['--source', 'x'], '--source must be <id>=<url>, received "x"'],
    [['--source', 'a b=http://me:secret@h/'], '--source must be <id>=<url>, received "a b=http://***@h/"'],
    [['--source', 'x=http://me:secret@h:port/'], '--source x must be an address that ffmpeg can read'],
    [['--source', 'x=/a', '--source', 'x=/b'], '--source x is given twice'],
    [
      ['--advertise', 'http://me:secret@h'],
      '--advertise must be an http(s) URL without a password, received "http://***@h"',
    ],
    [['--colour'], "Unknown option '--colour'"],
    [['stray'], "Unexpected argument 'stray'"],
    [['--port'], "Option '--port <value>' argument missing"],
    [['--config', '/nowhere.json'], '--config /nowhere.json: ENOENT'],
  ])('refuses %j and says why', (argv, message) => {
    expect(() => load(...argv)).toThrow(UsageError);
    expect(() => load(...argv)).toThrow(message);
  });

  it.each([
    [{ port: '1' }, 'port must be a whole number from 0 to 65535, received "1"'],
    [{ prot: 1 }, 'prot is unknown; known: port, bind, advertise, device'],
    [{ device: '10.0.0.5' }, 'device must be a list, received "10.0.0.5"'],
    [{ device: ['a', 5] }, 'device[1] must be an IP address, a host name or an http URL, received 5'],
    [
      { source: { a: 5 } },
      'source.a must be an address, a list of them, or an object with url, name and number, received 5',
    ],
    [{ source: { a: { url: 5 } } }, 'source.a.url must be an address, or a list of them, received 5'],
    [{ source: { a: { url: '' } } }, 'source.a.url must be an address that ffmpeg can read'],
    [{ source: { a: { url: '/a', title: 1 } } }, 'source.a.title is unknown; known: url, name, number'],
    [
      { source: { 'a/b': '/a' } },
      'source.a/b must be an id: a letter or digit, then up to 63 letters, digits, and . _ -, received "a/b"',
    ],
    ['{"source":{"__proto__":"/a"}}', 'a field may not be named __proto__'],
    [{ startTimeoutMs: 1 }, 'startTimeoutMs must be a whole number from 100 to 600000, received 1'],
    [[1], 'must hold a JSON object'],
    ['{ port: 1 }', 'JSON'],
  ])('refuses a file with %j and names the path in it', (content, message) => {
    const path = configFile(content);
    expect(() => load('--config', path)).toThrow(UsageError);
    expect(() => load('--config', path)).toThrow(message);
    expect(() => load('--config', path)).toThrow(path);
  });
});

describe('the command', () => {
  it.each([
    [['--colour'], 2, "Unknown option '--colour'; --help lists the flags"],
    [['--port', '80x'], 2, '--port must be'],
    [['--help'], 0, 'a relative path begins at the working directory'],
    [['--version'], 0, '0.1.0'],
  ])('with %j ends with exit code %i', async (argv, code, text) => {
    const { code: actual, output } = await new PublisherProcess(argv).exited;
    expect(actual).toBe(code);
    expect(output).toContain(text);
    expect(output).not.toMatch(/\n\s+at /);
  });
});
