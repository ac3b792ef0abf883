import { readFileSync } from 'node:fs';
import { redactCredentials, sourceKey } from 'holdfast';
import { z } from 'zod';
import { type Flags, UsageError } from './flags.ts';
import type { LogFormat } from './log.ts';

interface SourceConfig {
  /** As the operator wrote it, credentials included: only ffmpeg and the lock may see it. */
  readonly url: string;
  readonly name?: string | undefined;
  readonly number?: string | undefined;
}

/** What the program was told, with defaults. */
export interface Config {
  readonly port: number;
  readonly bind: string;
  readonly device: readonly string[];
  readonly source: Readonly<Record<string, SourceConfig>>;
  readonly demo: boolean;
  readonly advertise?: string | undefined;
  readonly lockDir?: string | undefined;
  readonly closeAfterMs: number;
  readonly startTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly restartCooldownMs: number;
  readonly maxProcesses: number;
  readonly maxViewers: number;
  readonly log: LogFormat;
}

/** What a channel id may be: it is part of a path, and the router takes no longer ones. */
const CHANNEL_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const idForm = 'an id: a letter or digit, then up to 63 letters, digits, and . _ -';

const text = (what: string) => z.string(what).min(1, what);
const whole = (min: number, max: number) => {
  const what = `a whole number from ${min} to ${max}`;
  return z.int(what).min(min, what).max(max, what);
};

const addressForm = 'an address that ffmpeg can read: a complete http(s)://… or other URL, or a file';
const url = text(addressForm).refine(hasIdentity, addressForm);
const sourceFields = { url, name: text('a text').optional(), number: text('a text, such as "5.1"').optional() };
const source = z.union([url.transform((url) => ({ url })), z.strictObject(sourceFields)], {
  error: ({ input }) =>
    typeof input === 'string' ? addressForm : 'an address, or an object with url, name and number',
});

const deviceForm = 'an IP address, a host name or an http URL';
const advertiseForm = 'an http(s) URL without a password';

const schema = z.strictObject({
  port: whole(0, 65535).default(8080),
  bind: text('an address of this host, such as 127.0.0.1').default('127.0.0.1'),
  device: z.array(z.string(deviceForm).refine(isDevice, deviceForm), 'a list').default([]),
  source: z.record(z.string().regex(CHANNEL_ID, idForm), source, 'an object: id to url').default({}),
  demo: z.boolean('true or false').default(false),
  advertise: z.string(advertiseForm).refine(isPlainHttpUrl, advertiseForm).optional(),
  lockDir: text('a path').optional(),
  closeAfterMs: whole(0, 86_400_000).default(0),
  startTimeoutMs: whole(100, 600_000).default(15_000),
  stallTimeoutMs: whole(100, 600_000).default(10_000),
  restartCooldownMs: whole(0, 86_400_000).default(30_000),
  maxProcesses: whole(1, 10_000).default(32),
  maxViewers: whole(1, 1_000_000).default(10_000),
  log: z.enum(['pretty', 'json'], '"pretty" or "json"').default('pretty'),
});

/**
 * The configuration file, if one is named, with the flags over it.
 *
 * @throws UsageError that names the flag, or the file and the path in it, what was received and what is allowed.
 */
export function loadConfig(flags: Flags): Config {
  const file = typeof flags.config === 'string' ? readConfigFile(flags.config) : {};
  const fields = fieldsOf(flags);
  // Each is judged by itself first, so that what is wrong is named as it was written.
  if (typeof flags.config === 'string') check(file, ({ path }) => `${flags.config}: ${pathOf(path)}`);
  check(fields, ({ path }) => flagOf(path));
  const config = check({ ...file, ...fields, ...joined(file, fields) }, ({ path }) => pathOf(path));
  const isEmpty = config.device.length === 0 && Object.keys(config.source).length === 0;
  return isEmpty && flags.config === undefined ? { ...config, demo: true } : config;
}

type Fields = Record<string, unknown>;

function readConfigFile(path: string): Fields {
  try {
    const file: unknown = JSON.parse(readFileSync(path, 'utf8'), refusePrototype);
    if (typeof file === 'object' && file !== null && !Array.isArray(file)) return file as Fields;
  } catch (error) {
    throw new UsageError(`--config ${path}: ${redactCredentials((error as Error).message)}`);
  }
  throw new UsageError(`--config ${path} must hold a JSON object`);
}

/** Such a field would be dropped without a word. */
function refusePrototype(name: string, value: unknown): unknown {
  if (name === '__proto__') throw new SyntaxError('a field may not be named __proto__');
  return value;
}

/** The flags as fields of the file. */
function fieldsOf(flags: Flags): Fields {
  const fields: Fields = {};
  for (const [flag, value] of Object.entries(flags)) {
    const name = flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    if (name === 'source') fields[name] = sourcesOf(value as readonly string[]);
    else if (!['config', 'help', 'version'].includes(name))
      fields[name] = isNumeric(flag) && isDigits(value) ? Number(value) : value;
  }
  return fields;
}

function sourcesOf(flags: readonly string[]): Fields {
  const sources: Fields = {};
  for (const flag of flags) {
    const [, id = '', url = ''] = /^([^=]*)=(.*)$/s.exec(flag) ?? [];
    if (!CHANNEL_ID.test(id) || url === '') {
      throw new UsageError(`--source must be <id>=<url>, received ${show(flag)}; <id> is ${idForm}`);
    }
    if (Object.hasOwn(sources, id))
      throw new UsageError(`--source ${id} is given twice; every source needs an id of its own`);
    sources[id] = url;
  }
  return sources;
}

/** Lists of both are one list; for one id the flag wins. */
function joined(file: Fields, flags: Fields): Fields {
  const device = [...((file.device ?? []) as string[]), ...((flags.device ?? []) as string[])];
  return { device: [...new Set(device)], source: { ...(file.source as object), ...(flags.source as object) } };
}

type Issue = z.core.$ZodIssue;

function check(fields: unknown, where: (issue: Issue) => string): Config {
  const result = schema.safeParse(fields, { reportInput: true });
  if (result.success) return result.data;
  throw new UsageError(result.error.issues.map((issue) => complaint(deepest(issue), where)).join('\n'));
}

/** Of a union, the complaint of the branch that went further into the value. */
function deepest(issue: Issue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().find(({ path, code }) => path.length > 0 || code === 'unrecognized_keys');
  return inner ? { ...inner, path: [...issue.path, ...inner.path] } : issue;
}

function complaint(issue: Issue, where: (issue: Issue) => string): string {
  if (issue.code === 'unrecognized_keys') {
    const known = issue.path.length === 0 ? Object.keys(schema.shape) : Object.keys(sourceFields);
    return `${where({ ...issue, path: [...issue.path, issue.keys[0] as string] })} is unknown; known: ${known.join(', ')}`;
  }
  const message = issue.code === 'invalid_key' ? issue.issues[0]?.message : issue.message;
  return `${where(issue)} must be ${message}, received ${show(issue.input)}`;
}

function pathOf(path: readonly PropertyKey[]): string {
  const names = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`));
  return names.join('').replace(/^\./, '') || 'the configuration';
}

function flagOf([name, ...rest]: readonly PropertyKey[]): string {
  const flag = `--${String(name).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  return rest.length > 0 && name === 'source' ? `${flag} ${String(rest[0])}` : flag;
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : redactCredentials(JSON.stringify(value)).slice(0, 200);
}

function isNumeric(flag: string): boolean {
  return flag === 'port' || flag.endsWith('-ms') || flag.startsWith('max-');
}

function isDigits(value: unknown): boolean {
  return typeof value === 'string' && /^\d+$/.test(value);
}

/** What can't be told apart from other sources can't be locked. A file that can't be looked at now may be later. */
function hasIdentity(url: string): boolean {
  try {
    return url !== '' && sourceKey(url) !== '';
  } catch (error) {
    return !(error instanceof TypeError);
  }
}

function isDevice(value: string): boolean {
  const isUrl = value.includes('://');
  return /^[^\s/]+$/.test(isUrl ? 'x' : value) && urlOf(isUrl ? value : `http://${value}`)?.protocol === 'http:';
}

function isPlainHttpUrl(value: string): boolean {
  const url = urlOf(value);
  return /^https?:$/.test(url?.protocol ?? '') && url?.username === '' && url.password === '';
}

function urlOf(text: string): URL | undefined {
  return URL.parse(text) ?? undefined;
}
