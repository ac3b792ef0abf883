import { join } from 'node:path';
import fc, { type GeneratorValue } from 'fast-check';
import { sourceKey } from 'holdfast';
import { afterAll, expect, test } from 'vitest';
import { lockFileName } from '../../src/source-lock/key.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const directory = temporaryDirectory(afterAll);

/** What a URL says, before anybody has spelled it. */
interface Address {
  readonly scheme: string;
  /** All spellings of it, upper and lower case apart. */
  readonly host: readonly string[];
  /** 0 for none, which is the default port where there is one. */
  readonly port: number;
  readonly path: readonly string[];
  readonly query: readonly (readonly [name: string, value: string])[];
}

const DEFAULT_PORTS: Record<string, number> = { http: 80, https: 443, rtsp: 554, rtmp: 1935, rtmps: 443, rtsps: 322 };
const SCHEMES = [...Object.keys(DEFAULT_PORTS), 'udp', 'srt', 'dvb', 'x-tuner+2'];
const HOSTS = [
  ['tuner', 'tuner.', '%74uner'],
  ['tuner_2.example.com', 'tuner_2.example.com.', 'tuner_2%2Eexample.com'],
  ['bücher.example', 'xn--bcher-kva.example', 'b%C3%BCcher.example', 'b%c3%9ccher.example.'],
  ['192.168.1.20', '192.168.1.20.', '192.168.276', '0xc0.0250.1.20', '3232235796', '%3192.168.1.20'],
  ['192.168.1.2'],
  ['[2001:db8::1]', '[2001:0db8:0:0::1]', '[2001:DB8:0:0:0:0:0:1]', '[2001:db8::0.0.0.1]'],
  ['[::1]', '[0::1]'],
  ['a..b'],
];
/** What means something in a URL, what must be encoded, and letters that spell no secret's name. */
const CHARACTERS = [...'abZ09-._~ /:?#%&=+;,!\'()*$@|^"<>[]{}\\`\n\u0000', 'é', 'e\u0301', '😀', '%2F', '%41'];
const SECRET_NAMES = [
  'token',
  'password',
  'passphrase',
  'api-key',
  'auth_token',
  'X-Amz-Signature',
  'user',
  'usr',
  'pwd',
];

/** `user:password@` and `://user@` are left out of keys. */
const isLogin = (text: string) => /:.*@/s.test(text);

const text = fc
  .array(fc.constantFrom(...CHARACTERS), { maxLength: 4 })
  .map((parts) => parts.join(''))
  .filter((each) => !isLogin(each));
const segment = text.filter((each) => each !== '.' && each !== '..');
const name = fc.oneof(fc.constantFrom('a', 'b', 'channel', 'id'), text);
const address: fc.Arbitrary<Address> = fc.record({
  scheme: fc.constantFrom(...SCHEMES),
  host: fc.constantFrom(...HOSTS),
  port: fc.oneof(fc.constant(0), fc.constantFrom(80, 443, 554, 5004)),
  path: fc.array(segment, { maxLength: 3 }).filter((segments) => !isLogin(segments.join('/'))),
  query: fc.array(fc.tuple(name, text), { maxLength: 4 }),
});

function spell({ scheme, host, port, path, query }: Address): string {
  const parameters = query.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  const authority = `${host[0]}${port === 0 ? '' : `:${port}`}`;
  return `${scheme}://${authority}/${path.map(encodeURIComponent).join('/')}?${parameters.join('&')}`;
}

/** The same otherwise: cases, encodings, orders and all that is left out of a key are `g`'s choice. */
function respell(g: GeneratorValue, { scheme, host, port, path, query }: Address): string {
  const octets = (text: string) => encodeURIComponent(text).replace(/%..|./g, (octet) => respellOctet(g, octet));
  const parameters = inAnotherOrder(g, query).map(([name, value]) => `${octets(name)}=${octets(value)}`);
  if (g(fc.boolean)) parameters.splice(g(fc.nat, parameters.length), 0, `${secretName(g)}=${g(fc.nat)}`);
  if (g(fc.boolean)) parameters.splice(g(fc.nat, parameters.length), 0, '');
  const isDefault = port === 0 || port === DEFAULT_PORTS[scheme];
  const ports = isDefault
    ? ['', ':', ...(scheme in DEFAULT_PORTS ? [`:${DEFAULT_PORTS[scheme]}`] : [])]
    : [`:${port}`, `:0${port}`];
  return [
    g(fc.constantFrom, '', ' ', 'cache:', ' async:cache:'),
    mixCase(g, scheme),
    '://',
    g(fc.constantFrom, '', '@', 'joe@', 'joe:secret@', 'j%6Fe:@', ':a@b:%40c@', 'joe:s%2Fe@'),
    mixCase(g, g(fc.constantFrom, ...host)),
    g(fc.constantFrom, ...ports),
    path.length > 0 || g(fc.boolean) ? `/${path.map(octets).join('/')}` : '',
    parameters.length > 0 || g(fc.boolean) ? `?${parameters.join('&')}` : '',
    scheme === 'srt' ? '' : g(fc.constantFrom, '', '#', '#joe:secret@a?b=c'),
    g(fc.constantFrom, '', ' ', '\n'),
  ].join('');
}

function respellOctet(g: GeneratorValue, octet: string): string {
  if (octet.length === 3) return mixCase(g, octet);
  return g(fc.boolean) ? octet : mixCase(g, `%${octet.charCodeAt(0).toString(16)}`);
}

function mixCase(g: GeneratorValue, text: string): string {
  const style = g(fc.constantFrom, 'as it is', 'upper', 'every second');
  if (style === 'as it is') return text;
  return text.replace(/./gsu, (letter, index) => (style === 'upper' || index % 2 ? letter.toUpperCase() : letter));
}

function secretName(g: GeneratorValue): string {
  return mixCase(
    g,
    g(fc.constantFrom, ...SECRET_NAMES).replace(/^./, (letter: string) => respellOctet(g, letter)),
  );
}

/** The values of one name stay in their order. */
function inAnotherOrder(g: GeneratorValue, query: Address['query']): Address['query'] {
  const names = [...new Set(query.map(([name]) => name))];
  const order = g(fc.shuffledSubarray, names, { minLength: names.length });
  return order.flatMap((name) => query.filter(([other]) => other === name));
}

/** Everything that tells one source from another. */
function meaning({ scheme, host, port, path, query }: Address): string {
  const byName = query.toSorted(([a], [b]) => (a < b ? -1 : Number(a > b)));
  const used = port === DEFAULT_PORTS[scheme] ? 0 : port;
  return JSON.stringify([scheme, host[0], used, path.length > 0 ? path : [''], byName]);
}

const RUNS = { numRuns: 300 };

test('all spellings of a URL have one key, and so has what the key says', () => {
  fc.assert(
    fc.property(address, fc.gen(), (address, g) => {
      const key = sourceKey(spell(address));
      expect(sourceKey(respell(g, address))).toBe(key);
      expect(sourceKey(key.slice('url:'.length))).toBe(key);
    }),
    RUNS,
  );
});

test('URLs that differ in scheme, host, port, path or query have different keys and lock files', () => {
  const part = fc.constantFrom<keyof Address>('scheme', 'host', 'port', 'path', 'query');
  fc.assert(
    fc.property(address, address, part, fc.gen(), (one, another, part, g) => {
      const other = { ...one, [part]: another[part] };
      fc.pre(meaning(one) !== meaning(other));
      expectDifferent(sourceKey(respell(g, one)), sourceKey(respell(g, other)));
    }),
    RUNS,
  );
});

test('one change of one value, or of the order of the values of one name, makes another key', () => {
  fc.assert(
    fc.property(address, name, text, text, (address, name, a, b) => {
      fc.pre(a !== b);
      const withValues = (...values: string[]) => {
        const parameters = values.map((value) => [name, value] as const);
        return sourceKey(spell({ ...address, query: [...address.query, ...parameters] }));
      };
      expectDifferent(withValues(a), withValues(b));
      expectDifferent(withValues(a, b), withValues(b, a));
      expectDifferent(withValues(a), withValues(a, a));
    }),
    RUNS,
  );
});

test('a channel of a device is known by ID and channel, whatever the case of the ID and the slashes before it', () => {
  const id = fc.string({ minLength: 8, maxLength: 8, unit: fc.constantFrom(...'0123456789abcdef') });
  const channel = fc.constantFrom('v5.1', 'v5.2', 'v51', 'V5.1', 'ch473000000-3', 'ch473000000-4', '');
  const spellings = fc.tuple(id, channel, fc.constantFrom('hdhomerun:', 'HDHomeRun://', 'hdhomerun://joe:secret@'));
  fc.assert(
    fc.property(id, channel, spellings, fc.gen(), (id, channel, [otherId, otherChannel, scheme], g) => {
      const key = sourceKey(`hdhomerun:${id}/${channel}`);
      expect(sourceKey(`${scheme}${mixCase(g, id)}/${channel}`)).toBe(key);
      if (id !== otherId) expectDifferent(sourceKey(`${scheme}${otherId}/${channel}`), key);
      if (channel !== otherChannel) expectDifferent(sourceKey(`${scheme}${id}/${otherChannel}`), key);
    }),
    RUNS,
  );
});

test.each(['http://h/?a=', 'rtsp://h/?', 'rtsp://h/a', 'concat:a'])(
  'every octet makes another key after %s',
  (start) => {
    const octets = Array.from({ length: 256 }, (_, octet) => `%${octet.toString(16).padStart(2, '0')}`);
    expect(new Set(octets.map((octet) => sourceKey(start + octet))).size).toBe(256);
  },
);

/** Names of files that do not exist: strange ones, and some that look like a key or a URL. */
const fileName = fc
  .oneof(
    fc.constantFrom(
      'file:2049:12',
      'url:http:',
      'device:char:259',
      ' a',
      'a ',
      'a:b',
      'a#b',
      'a%2Fb',
      '~',
      '...',
      'new',
    ),
    fc.constantFrom('\u00e9', 'e\u0301', 'a\nb', 'joe:secret@host', 'a?token=b', 'a?token=c', 'a?token=', '#', '\\'),
    fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }),
  )
  .filter((each) => !/^\.{0,2}$|[/\0]/.test(each));
const filePath = fc.array(fileName, { minLength: 1, maxLength: 3 });

test('paths of different names have different keys and lock files, whether or not their directories exist', () => {
  fc.assert(
    fc.property(filePath, filePath, (one, other) => {
      fc.pre(one.join('/') !== other.join('/'));
      expectDifferent(sourceKey(join(directory, ...one)), sourceKey(join(directory, ...other)));
    }),
    RUNS,
  );
});

test('a path that does not exist is the same by way of others and from another directory', () => {
  const detour = fc.constantFrom('/', '//', '/./', '/x/../', '/../'.concat(directory.split('/').at(-1) ?? '', '/'));
  fc.assert(
    fc.property(filePath, detour, fc.boolean(), (names, detour, endsWithSlash) => {
      const path = `${directory}${detour}${names.join('/')}${endsWithSlash ? '/' : ''}`;
      expect(sourceKey(path)).toBe(sourceKey(join(directory, ...names)));
    }),
    RUNS,
  );
});

test('a URL, a file and a device never have one key', () => {
  const url = address.map(spell);
  const file = filePath.map((names) => join(directory, ...names));
  const device = fc.constantFrom('/dev/null', '/dev/zero', '/dev/full');
  const keyAsSource = fc.oneof(url, file, device).map(sourceKey);
  const kinds = [url, file, device, keyAsSource.map((key) => `./${key}`)];
  fc.assert(
    fc.property(fc.shuffledSubarray(kinds, { minLength: 2, maxLength: 2 }), fc.gen(), (kinds, g) => {
      const [one = '', other = ''] = kinds.map((kind) => sourceKey(g(() => kind)));
      expectDifferent(one, other);
    }),
    RUNS,
  );
});

test('a lock file has a valid name, another for each key', () => {
  const key = fc.oneof(
    address.map((each) => sourceKey(spell(each))),
    fc.string(),
    fc.constantFrom('', '.', '\0', 'a'.repeat(500), 'é'.repeat(500)),
  );
  fc.assert(
    fc.property(key, key, (one, other) => {
      for (const key of [one, other]) {
        const name = lockFileName(key);
        expect(name).toMatch(/^[^./][^/\0]*\.lock$/);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
      }
      expect(lockFileName(one) === lockFileName(other)).toBe(one === other);
    }),
    RUNS,
  );
});

const secret = fc.string({ minLength: 6, maxLength: 20, unit: fc.constantFrom(...'QWXJK789') });
/** As a careful operator writes it into a URL, and as others do who encode more than they must. */
const around = fc
  .array(fc.constantFrom(...':@/?#%&=+ ;é|"', 'a', 'b'), { maxLength: 3 })
  .map((parts) => parts.join('').replace('//', ''));

/** Every place of a URL where a credential may be; `user` and `password` are encoded already. */
const PLACES: readonly ((login: Login) => string)[] = [
  ({ user, password }) => `http://${user}:${password}@host/a`,
  ({ user, password }) => `rtsp://${user}:a@b:${password}@host:80/a`,
  ({ user }) => `dvb://${user}@host/a`,
  ({ user, password }) => `\0http://${user}:${password}@host/a`,
  ({ password }) => `srt://host:9000?streamid=a&passphrase=${password}`,
  ({ user, password }) => `concat:http://${user}:${password}@host/a|http://${user}:${password}@host/b`,
  ({ password }) => `joe:${password}@host/a`,
  ({ password }) => `my_camera:${password}@host/a?token=${password}`,
  ({ user, password }) => `http://host/http://${user}:${password}@camera/1`,
  ({ user }) => `http://host/rtsp://${user}@camera/1`,
  ({ user, password }) => `http://host/?url=http://${user}:${password}@camera/1`,
  ({ user, password }) => `http://host/?http://${user}:${password}@camera/1?token=${password}`,
  ({ user, password }) => `http://host/?a=1;password=${password}&b;user=${user};c`,
  ({ user, password }) => `rtsp://host/user=${user}&password=${password}&channel=1`,
  ({ user, password }) => `rtsp://host/user=${user}_password=${password}_channel=1_stream=0.sdp`,
  ({ password }) => `http://host/a;token=${password}/b`,
];

interface Login {
  readonly user: string;
  readonly password: string;
}

test('no credential is in a key or in the name of a lock file, wherever it was and however it was encoded', () => {
  fc.assert(
    fc.property(secret, secret, around, fc.constantFrom(...PLACES), fc.gen(), (user, password, noise, place, g) => {
      const encoded = (text: string) => encodeURIComponent(text).replace(/%..|./g, (octet) => respellOctet(g, octet));
      const url = place({ user: encoded(noise + user), password: encoded(noise + password + noise) });
      expectNoneOf([user, password], sourceKey(url));
      for (let [nested, level] = [url, 0]; level < 2; level++) {
        nested = encodeURIComponent(nested);
        expectNoneOf([user, password], sourceKey(`http://proxy/?x=1&url=${nested}&y=2`));
        expectNoneOf([user, password], sourceKey(`http://proxy/a/${nested}/b`));
      }
    }),
    RUNS,
  );
});

test('no value of a parameter that carries a secret is in a key', () => {
  fc.assert(
    fc.property(address, secret, fc.gen(), (address, secret, g) => {
      const url = new URL(spell({ ...address, query: [] }));
      url.search = `?a=1&${secretName(g)}=${secret}&${secretName(g)}=%20${secret}`;
      expectNoneOf([secret], sourceKey(url));
      expectNoneOf([secret], sourceKey(`http://proxy/?url=${encodeURIComponent(url.href)}`));
    }),
    RUNS,
  );
});

test('what is refused is not repeated', () => {
  const place = fc.constantFrom<(login: string) => string>(
    (login) => `http://${login}@:99999/`,
    (login) => `rtsp://${login}@[::1/`,
    (login) => `http://${login}@/`,
    (login) => `http://host:port/?user=${login}`,
    (login) => `file://${login}@host/a`,
    (login) => `file:///${login}/%FF`,
    (login) => `_${login}@host/\0`,
    (login) => `./${login}\0`,
  );
  fc.assert(
    fc.property(secret, secret, place, (user, password, place) => {
      expectNoneOf([user, password], refusalOf(place(`${user}:${password}`)));
    }),
    RUNS,
  );
});

function expectDifferent(one: string, other: string): void {
  expect(one).not.toBe(other);
  expect(lockFileName(one)).not.toBe(lockFileName(other));
}

function expectNoneOf(secrets: readonly string[], key: string): void {
  const name = lockFileName(key);
  const shown = [key, decodeURIComponent(key), name].join(' ').toLowerCase();
  for (const secret of secrets) expect(shown).not.toContain(secret.toLowerCase());
}

function refusalOf(source: string): string {
  try {
    sourceKey(source);
  } catch (error) {
    if (error instanceof TypeError) return error.message;
  }
  throw new Error(`${source} is not refused by a TypeError`);
}
