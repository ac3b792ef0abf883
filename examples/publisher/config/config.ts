import { readFileSync } from 'node:fs';
import { redactCredentials } from 'holdfast';
import type { z } from 'zod';
import { type Flags, UsageError } from './flags.ts';
import { flagOf, OPTIONS } from './options.ts';
import { CHANNEL_ID, type Config, idForm, OVERRIDE_FIELDS, PUSH_FIELDS, SOURCE_FIELDS, schema } from './schema.ts';

export type { Config } from './schema.ts';

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
  check(fields, ({ path }) => flagAt(path));
  const config = check({ ...file, ...fields, ...joined(file, fields) }, ({ path }) => pathOf(path));
  const isEmpty = [config.device, config.peer, Object.keys(config.source)].every(({ length }) => length === 0);
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

/** Options that are lists, and those that are objects by id: of both, those of the file and of the flags are joined. */
const LISTS = ['device', 'peer', 'guide'] as const;
const OBJECTS = ['source', 'channel', 'push'] as const;

/** The flags as fields of the file. */
function fieldsOf(flags: Flags): Fields {
  const fields: Fields = {};
  for (const [flag, value] of Object.entries(flags)) {
    const name = flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    if (['config', 'help', 'version'].includes(name)) continue;
    if ((OBJECTS as readonly string[]).includes(name)) fields[name] = objectOf(name, value as readonly string[]);
    else fields[name] = isNumeric(name) && isDigits(value) ? Number(value) : value;
  }
  return fields;
}

/** What is given as `<id>=<value>`; a value may be JSON, as in the file. */
function objectOf(name: string, flags: readonly string[]): Fields {
  const object: Fields = {};
  for (const flag of flags) {
    const [, id = '', value = ''] = /^([^=]*)=(.*)$/s.exec(flag) ?? [];
    if (!CHANNEL_ID.test(id) || value === '') {
      const form = name === 'source' ? '<id>=<url>' : '<id>=<json>';
      throw new UsageError(`--${name} must be ${form}, received ${show(flag)}; <id> is ${idForm}`);
    }
    if (Object.hasOwn(object, id)) {
      throw new UsageError(`--${name} ${id} is given twice; every ${name} needs an id of its own`);
    }
    object[id] = /^[[{]/.test(value) ? parsed(`--${name} ${id}`, value) : value;
  }
  return object;
}

function parsed(flag: string, json: string): unknown {
  try {
    return JSON.parse(json, refusePrototype);
  } catch (error) {
    throw new UsageError(`${flag}: ${redactCredentials((error as Error).message)}`);
  }
}

/** Lists of both are one list; for one id the flag wins. */
function joined(file: Fields, flags: Fields): Fields {
  const lists = LISTS.map((name) => {
    const all = [...((file[name] ?? []) as string[]), ...((flags[name] ?? []) as string[])];
    return [name, [...new Set(all)]] as const;
  });
  const objects = OBJECTS.map((name) => [name, { ...(file[name] as object), ...(flags[name] as object) }] as const);
  return Object.fromEntries([...lists, ...objects]);
}

type Issue = z.core.$ZodIssue;

/** Of the objects in the configuration, by the option that has them. */
const FIELDS_OF: Readonly<Record<string, readonly string[]>> = {
  source: SOURCE_FIELDS,
  channel: OVERRIDE_FIELDS,
  push: PUSH_FIELDS,
};

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
    const known = FIELDS_OF[String(issue.path[0])] ?? Object.keys(OPTIONS);
    return `${where({ ...issue, path: [...issue.path, issue.keys[0] as string] })} is unknown; known: ${known.join(', ')}`;
  }
  const message = issue.code === 'invalid_key' ? issue.issues[0]?.message : issue.message;
  return `${where(issue)} must be ${message}, received ${show(issue.input)}`;
}

function pathOf(path: readonly PropertyKey[]): string {
  const names = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`));
  return names.join('').replace(/^\./, '') || 'the configuration';
}

function flagAt([name, ...rest]: readonly PropertyKey[]): string {
  const isById = (OBJECTS as readonly string[]).includes(String(name));
  return [flagOf(String(name)), ...(isById ? rest.slice(0, 1).map(String) : [])].join(' ');
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : redactCredentials(JSON.stringify(value)).slice(0, 200);
}

function isNumeric(name: string): boolean {
  return /(^p|P)ort$|Ms$|^max|Count$|^hlsSegments$/.test(name);
}

function isDigits(value: unknown): boolean {
  return typeof value === 'string' && /^\d+$/.test(value);
}
