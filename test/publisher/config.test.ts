import { symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig, load as loadWithOrigins } from '../../examples/publisher/config/config.ts';
import { parseFlags, UsageError } from '../../examples/publisher/config/flags.ts';
import { unknownVariables } from '../../examples/publisher/config/layer.ts';
import { OPTIONS } from '../../examples/publisher/config/options.ts';
import { printedConfig, printedSchema } from '../../examples/publisher/config/print.ts';
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
  ...{ failoverAfterMs: 2_250, preferAfterMs: 60_000, restartCooldownMs: 30_000, maxProcesses: 32, trustProxy: [] },
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
    [
      ['--guide', 'file://nas/g.xml'],
      /^--guide must be the http\(s\) URL or the file .*received "file:\/\/nas\/g.xml"$/,
    ],
    [
      ['--trust-proxy', '10.0.0.0/33'],
      '--trust-proxy must be the IP address or network (10.0.0.0/8) of a reverse proxy, received "10.0.0.0/33"',
    ],
    [['--trust-proxy', 'nginx'], '--trust-proxy must be the IP address or network (10.0.0.0/8)'],
    [['--guide', 'http://'], /^--guide must be the http/],
    [
      ['--guide', 'http://['],
      /^--guide must be the http\(s\) URL or the file \(a path, .*or "device", received "http:\/\/\["$/,
    ],
    [['--guide', 'ftp://nas/g.xml'], /^--guide must be the http\(s\) URL or the file .*received "ftp:\/\/nas\/g.xml"$/],
    [
      ['--port', '65001'],
      /^port and discoveryPort must differ, received 65001 for both: .*--port or --discovery-port, or --discovery off$/,
    ],
    [['--source', 'x'], '--source must be <id>=<url>, received "x"'],
    [['--source', 'a b=http://me:secret@h/'], '--source must be <id>=<url>, received "a b=http://***@h/"'],
    [['--source', 'x=http://me:secret@h:port/'], '--source x must be an address that ffmpeg can read'],
    [['--channel', '5.1={"enabled":"no"}'], '--channel 5.1: enabled must be true or false, received "no"'],
    [['--channel', '5.1={"nmae":"x"}'], '--channel 5.1: nmae is unknown; did you mean name?'],
    [['--push', 'a={"channel":"x","url":"http://h/"}'], /^--push a: url must be an srt:.*, received another$/],
    [['--source', 'x=/a', '--source', 'x=/b'], '--source x is given twice'],
    [
      ['--advertise', 'http://me:secret@h'],
      '--advertise must be an http(s) URL without a password, received "http://***@h"',
    ],
    [['--colour'], "Unknown option '--colour'; --help lists the flags"],
    [['--max-viewer', '5'], "Unknown option '--max-viewer'; did you mean --max-viewers? --help lists the flags"],
    [
      ['--operator-token', 'hunter2'],
      /^--operator-token must be a text of 16 to 1024 characters without blanks, received another$/,
    ],
    [['stray'], "Unexpected argument 'stray'"],
    [['--port'], "Option '--port <value>' argument missing"],
    [['--config', '/nowhere.json'], '--config /nowhere.json: ENOENT'],
  ])('refuses %j and says why', (argv, message) => {
    expect(() => load(...argv)).toThrow(UsageError);
    expect(() => load(...argv)).toThrow(message);
  });

  it.each([
    [{ port: '1' }, 'port must be a whole number from 0 to 65535, received "1"'],
    [{ prot: 1 }, 'prot is unknown; did you mean port? known: port, bind, advertise, device'],
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

const VARIABLES = {
  ...{ HOLDFAST_PUBLISHER_PORT: '0', HOLDFAST_PUBLISHER_DEMO: 'false', HOLDFAST_PUBLISHER_CLOSE_AFTER_MS: '500' },
  ...{ HOLDFAST_PUBLISHER_DEVICE: '10.0.0.5, tuner', HOLDFAST_PUBLISHER_GUIDE: '["/a,b.xml"]' },
  ...{ HOLDFAST_PUBLISHER_SOURCE: 'a=/a b=http://h/?x=1,2', HOLDFAST_PUBLISHER_CHANNEL: '{"5.1":{"favorite":true}}' },
  ...{ HOLDFAST_PUBLISHER_BIND: '', HOLDFAST_PUBLISHER_PREVIEW: 'false' },
};

describe('the environment', () => {
  it('has a variable for every option: a list by commas, what has ids by blanks, both as JSON, too', () => {
    expect(loadConfig(parseFlags([]), VARIABLES)).toEqual({
      ...DEFAULTS,
      ...{ port: 0, closeAfterMs: 500, device: ['10.0.0.5', 'tuner'], guide: ['/a,b.xml'], preview: false },
      source: { a: { url: ['/a'] }, b: { url: ['http://h/?x=1,2'] } },
      channel: { '5.1': { favorite: true } },
    });
  });

  it('is over the file and under the flags, and names the file', () => {
    const path = configFile({
      port: 1,
      maxViewers: 1,
      device: ['a'],
      source: { a: '/file', b: '/file' },
      preview: true,
    });
    const env = { ...VARIABLES, HOLDFAST_PUBLISHER_CONFIG: path };
    const { config, origins } = loadWithOrigins(
      parseFlags(['--close-after-ms', '7', '--device', 'z', '--no-deinterlace']),
      env,
    );
    expect(config).toMatchObject({ port: 0, maxViewers: 1, closeAfterMs: 7, device: ['a', '10.0.0.5', 'tuner', 'z'] });
    expect(config).toMatchObject({ source: { a: { url: ['/a'] }, b: { url: ['http://h/?x=1,2'] } } });
    expect([config.preview, config.deinterlace]).toEqual([false, false]);
    expect(origins).toMatchObject({ maxViewers: `${path}: maxViewers`, closeAfterMs: '--close-after-ms' });
    expect(origins.device).toBe(`${path}: device and HOLDFAST_PUBLISHER_DEVICE and --device`);
    expect(origins).not.toHaveProperty('stallTimeoutMs');
  });

  it('is complained of together with the file and the flags, each by its name', () => {
    const env = { HOLDFAST_PUBLISHER_PORT: '80x', HOLDFAST_PUBLISHER_DEMO: 'maybe', HOLDFAST_PUBLISHER_SOURCE: 'x' };
    const path = configFile({ prt: 1, port: 'x' });
    const complaints = () =>
      loadConfig(parseFlags(['--config', path, '--log', 'xml']), { ...env, HOLDFAST_PUBLISHER_SOURCE: '' });
    const all = () => loadConfig(parseFlags(['--config', '/nowhere.json', '--source', 'y', '--log', 'xml']), env);
    expect(messageOf(all).split('\n')).toEqual([
      expect.stringMatching(/^--config \/nowhere.json: ENOENT/),
      expect.stringMatching(/^HOLDFAST_PUBLISHER_SOURCE must be <id>=<url>, received "x"/),
      expect.stringMatching(/^HOLDFAST_PUBLISHER_PORT must be /),
      expect.stringMatching(/^HOLDFAST_PUBLISHER_DEMO must be /),
      expect.stringMatching(/^--source must be <id>=<url>, received "y"/),
      expect.stringMatching(/^--log must be /),
    ]);
    expect(complaints).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(
          /: port must be [\s\S]*: prt is unknown[\s\S]*\nHOLDFAST_PUBLISHER_PORT must be [^\n]*"80x"\nHOLDFAST_PUBLISHER_DEMO must be true or false, received "maybe"\n--log must be/,
        ),
      }),
    );
    expect(() => loadConfig(parseFlags([]), env)).toThrow('HOLDFAST_PUBLISHER_SOURCE must be <id>=<url>, received "x"');
  });

  it('may have what an orchestrator puts there for a service of this name', () => {
    const env = { HOLDFAST_PUBLISHER_PORT: 'tcp://10.0.0.1:80', HOLDFAST_PUBLISHER_SERVICE_HOST: '10.0.0.1' };
    expect(loadConfig(parseFlags([]), env).port).toBe(8080);
    expect(unknownVariables(env)).toEqual(['HOLDFAST_PUBLISHER_SERVICE_HOST']);
  });
});

describe('a token', () => {
  const token = 'a-token-of-some-length';

  function tokenFile(content: string, name = 'operator-token'): string {
    const path = join(temporaryDirectory(), name);
    writeFileSync(path, content);
    return path;
  }

  it.each<[string, (path: string) => [string[], NodeJS.ProcessEnv]]>([
    ['the file of a flag', (path) => [['--operator-token-file', path], {}]],
    ['the file of a variable', (path) => [[], { HOLDFAST_PUBLISHER_OPERATOR_TOKEN_FILE: path }]],
    ['the credentials of systemd', (path) => [[], { CREDENTIALS_DIRECTORY: dirname(path) }]],
    [
      'the place that wins',
      (path) => [['--operator-token-file', path], { HOLDFAST_PUBLISHER_OPERATOR_TOKEN: 'x'.repeat(20) }],
    ],
  ])('comes from %s', (_, from) => {
    const [argv, env] = from(tokenFile(`${token}\n`));
    expect(loadConfig(parseFlags(argv), env).operatorToken).toBe(token);
  });

  it.each<[string, string, RegExp]>([
    [
      'is too short',
      'hunter2',
      /^--operator-token-file: \S+ must hold a token of at least 16 characters, without blanks, and nothing else$/,
    ],
    ['is two', `${token}\n${token}`, /must hold a token/],
  ])('that %s is refused, and not shown', (_, content, message) => {
    const argv = ['--operator-token-file', tokenFile(content)];
    expect(() => load(...argv)).toThrow(message);
    expect(() => load(...argv)).toThrow(expect.objectContaining({ message: expect.not.stringContaining(content) }));
  });

  it('that is bad hides nothing else that is wrong', () => {
    const files = ['--operator-token-file', '/nowhere', '--publish-token-file', tokenFile('hunter2')];
    const linesOf = (...argv: string[]) => {
      try {
        return load(...files, ...argv);
      } catch (error) {
        return (error as UsageError).message.split('\n');
      }
    };
    const ofTokens = [/^--operator-token-file: ENOENT/, /^--publish-token-file: .* must hold a token/];
    const ofBoth = ofTokens.map((text) => expect.stringMatching(text));
    expect(linesOf('--port', '65001')).toEqual([
      expect.stringMatching(/^port and discoveryPort must differ/),
      ...ofBoth,
    ]);
    expect(linesOf('--port', 'x')).toEqual([expect.stringMatching(/^--port must be/), ...ofBoth]);
    const ofFile = load.bind(undefined, '--config', configFile({ operatorTokenFile: 5 }));
    expect(ofFile).toThrow(/^\S+: operatorTokenFile must be a path, received 5$/);
  });

  it('may not be given twice in one place, and its file must be there', () => {
    expect(() => load('--publish-token', token, '--publish-token-file', '/x')).toThrow(
      '--publish-token and --publish-token-file are both given; give one',
    );
    expect(() => load('--publish-token-file', '/nowhere')).toThrow('--publish-token-file: ENOENT');
    expect(loadConfig(parseFlags([]), { CREDENTIALS_DIRECTORY: '/nowhere' }).operatorToken).toBeUndefined();
  });
});

describe('the printed', () => {
  it('configuration is a file that says the same, without secrets', () => {
    const config = load('--operator-token', 'x'.repeat(16), '--source', 'a=http://me:secret@h/', '--port', '9');
    const text = printedConfig(config);
    expect(text).not.toContain('secret');
    expect(text).not.toContain('xxxx');
    expect(JSON.parse(text)).toMatchObject({
      operatorToken: '***',
      source: { a: { url: ['http://***@h/'] } },
      port: 9,
    });
    expect(load('--config', configFile(printedConfig(load('--port', '9', '--device', 'a'))))).toMatchObject({
      port: 9,
      demo: false,
    });
  });

  it('configuration of a token in a file names that alone, if it holds, and is a file that is taken', () => {
    const tokenFile = configFile('x'.repeat(16));
    const path = configFile({ operatorTokenFile: tokenFile, device: ['a'] });
    const ofFlag = JSON.parse(printedConfig(load('--config', path, '--operator-token', 'y'.repeat(16))));
    expect([ofFlag.operatorToken, ofFlag.operatorTokenFile]).toEqual(['***', undefined]);
    const printed = printedConfig(load('--operator-token-file', tokenFile, '--device', 'a'));
    expect(JSON.parse(printed)).toMatchObject({ operatorTokenFile: tokenFile });
    expect(load('--config', configFile(printed)).operatorToken).toBe('x'.repeat(16));
  });

  it('schema knows every option, which a file may name as its $schema', () => {
    const { properties, additionalProperties } = JSON.parse(printedSchema());
    expect(Object.keys(properties)).toEqual(['$schema', ...Object.keys(OPTIONS)]);
    expect(additionalProperties).toBe(false);
    expect(properties.port).toMatchObject({ type: 'integer', minimum: 0, maximum: 65_535, default: 8080 });
    expect(load('--config', configFile({ $schema: './schema.json', port: 1 })).port).toBe(1);
  });
});

describe('the help', () => {
  it.each(Object.entries(OPTIONS))('tells the default of %s as it is', (option, { help }) => {
    const said = /\(([^():]+)(?:: [^)]*)?\)/.exec(help)?.[1];
    const value = (DEFAULTS as Record<string, unknown>)[option];
    if (said !== undefined && ['number', 'boolean'].includes(typeof value)) expect(said).toBe(String(value));
  });
});

describe('the command', () => {
  it.each([
    [['--colour'], 2, "Unknown option '--colour'; --help lists the flags"],
    [['--port', '80x'], 2, '--port must be'],
    [['--help'], 0, 'a relative path begins at the working directory'],
    [['--version'], 0, '0.1.0'],
    [['--print-config', '--port', '9'], 0, '"port": 9,'],
    [['--print-config', '--port', '9'], 0, 'port  from --port\n'],
    [['--print-schema'], 0, '"title": "The configuration of holdfast-publisher"'],
  ])('with %j ends with exit code %i', async (argv, code, text) => {
    const { code: actual, output } = await new PublisherProcess(argv).exited;
    expect(actual).toBe(code);
    expect(output).toContain(text);
    expect(output).not.toMatch(/\n\s+at /);
  });
});

describe('what is no JSON', () => {
  it.each([
    ['{\n  "operatorToken": hunter2-hunter2\n}', 'line 2, column 20'],
    ['{"operatorToken": "hunter2" "port": 1}', 'line 1, column 29'],
    ['{"operatorToken": "hunter2', 'line 1, column 27'],
    ['hunter2', 'line 1, column 1'],
  ])('is refused by its place, and not quoted: %j', (text, place) => {
    const path = configFile(text);
    const complaint = messageOf(() => load('--config', path));
    expect(complaint).toBe(`--config ${path}: this is no JSON: it is wrong at ${place}`);
  });

  it.each(['a={"url":hunter2}', 'rtmp://h/live/hunter2'])('of a push is not quoted: %s', (push) => {
    const complaint = messageOf(() => load('--push', push));
    expect(complaint).toMatch(/^--push/);
    expect(complaint).not.toContain('hunter2');
  });
});

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
}
