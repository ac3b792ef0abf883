import { readFileSync } from 'node:fs';
import { redactCredentials } from 'holdfast';
import { complain, show } from './complaint.ts';
import { type Flags, UsageError } from './flags.ts';
import { parseJson } from './json-text.ts';
import { flagOf, isNumeric, isYesNo, LISTS, OBJECTS, OPTIONS, variableOf } from './options.ts';
import { CHANNEL_ID, idForm } from './schema.ts';

export type Fields = Record<string, unknown>;

/** One of the places where options are given; those of a later layer win. */
export interface Layer {
  readonly fields: Fields;
  /** What is wrong with those that could not even be taken apart: they are not among the fields. */
  readonly complaints: readonly string[];
  /** What the operator called the option, or a part of it. */
  where(path: readonly PropertyKey[]): string;
}

/** Flags and variables that are no fields of the file. */
export const CONFIG_VARIABLE: string = variableOf('config');

export function fileLayer(path: string): Layer {
  const where: Layer['where'] = (steps) => `${path}: ${pathOf(steps)}`;
  try {
    const { $schema: _, ...fields } = readConfigFile(path);
    return { fields, complaints: [], where };
  } catch (error) {
    return { fields: {}, complaints: [complaintIn(error)], where };
  }
}

export function flagLayer(flags: Flags): Layer {
  const read = (option: string) => {
    const value = flags[flagOf(option).slice(2)];
    return value === undefined ? undefined : ofFlag(option, value);
  };
  return { ...readEach(read), where: (steps) => named(steps, flagOf) };
}

export function environmentLayer(env: NodeJS.ProcessEnv): Layer {
  const read = (option: string) => {
    const value = env[variableOf(option)] ?? '';
    return value === '' || isOfKubernetes(value) ? undefined : ofVariable(option, value);
  };
  return { ...readEach(read), where: (steps) => named(steps, variableOf) };
}

/** Every option that is given there. */
function readEach(read: (option: string) => unknown): Pick<Layer, 'fields' | 'complaints'> {
  const fields: Fields = {};
  const complaints: string[] = [];
  for (const option of Object.keys(OPTIONS)) {
    try {
      const value = read(option);
      if (value !== undefined) fields[option] = value;
    } catch (error) {
      complaints.push(complaintIn(error));
    }
  }
  return { fields, complaints };
}

/** What was thrown, if it is a complaint. */
export function complaintIn(error: unknown): string {
  if (error instanceof UsageError) return error.message;
  throw error;
}

/** Variables that look like options and are none. No error: an orchestrator may make them of its own. */
export function unknownVariables(env: NodeJS.ProcessEnv): string[] {
  const known = new Set([...Object.keys(OPTIONS).map(variableOf), CONFIG_VARIABLE]);
  return Object.keys(env).filter((name) => name.startsWith(variableOf('')) && !known.has(name));
}

export function pathOf(path: readonly PropertyKey[]): string {
  const names = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`));
  return names.join('').replace(/^\./, '') || 'the configuration';
}

/** Of what has ids, the id tells which it is, and the field, if it was given as JSON, what of it. */
function named([option, id, ...fields]: readonly PropertyKey[], nameOf: (option: string) => string): string {
  const name = nameOf(String(option));
  if (id === undefined || !isObject(String(option))) return name;
  const [field] = fields;
  return `${name} ${String(id)}${typeof field === 'string' ? `: ${pathOf(fields)}` : ''}`;
}

function readConfigFile(path: string): Fields {
  try {
    const file: unknown = parseJson(readFileSync(path, 'utf8'));
    if (typeof file === 'object' && file !== null && !Array.isArray(file)) return file as Fields;
  } catch (error) {
    throw new UsageError(`--config ${path}: ${redactCredentials((error as Error).message)}`);
  }
  throw new UsageError(`--config ${path} must hold a JSON object`);
}

function ofFlag(option: string, value: Flags[string]): unknown {
  if (isObject(option)) return objectOf(option, flagOf(option), value as readonly string[]);
  return isNumeric(option) && isDigits(value) ? Number(value) : value;
}

function ofVariable(option: string, value: string): unknown {
  const name = variableOf(option);
  if (isYesNo(option)) return { true: true, false: false }[value] ?? value;
  if (isList(option)) return value.startsWith('[') ? parsed(name, value) : value.split(',').map((part) => part.trim());
  if (isObject(option)) return value.startsWith('{') ? parsed(name, value) : objectOf(option, name, value.split(/\s+/));
  return isNumeric(option) && isDigits(value) ? Number(value) : value;
}

/** What is given as `<id>=<value>`; a value may be JSON, as in the file. */
function objectOf(option: string, name: string, given: readonly string[]): Fields {
  const object: Fields = {};
  for (const each of given) {
    const [, id = '', value = ''] = /^([^=]*)=(.*)$/s.exec(each) ?? [];
    if (!CHANNEL_ID.test(id) || value === '') {
      const form = option === 'source' ? '<id>=<url>' : '<id>=<json>';
      // All of the address of a push may be secret.
      const received = option === 'push' ? 'another' : show(each);
      throw complain(`${name} must be ${form}, received ${received}; <id> is ${idForm}`);
    }
    if (Object.hasOwn(object, id))
      throw complain(`${name} ${id} is given twice; every ${option} needs an id of its own`);
    object[id] = /^[[{]/.test(value) ? parsed(`${name} ${id}`, value) : value;
  }
  return object;
}

function parsed(name: string, json: string): unknown {
  try {
    return parseJson(json);
  } catch (error) {
    throw complain(`${name}: ${redactCredentials((error as Error).message)}`);
  }
}

/** Kubernetes tells every container of a service that is named like this program where it is, by the same name. */
function isOfKubernetes(value: string): boolean {
  return /^tcp:\/\/[\d.]+:\d+$/.test(value);
}

function isList(option: string): boolean {
  return (LISTS as readonly string[]).includes(option);
}

function isObject(option: string): boolean {
  return (OBJECTS as readonly string[]).includes(option);
}

function isDigits(value: unknown): boolean {
  return typeof value === 'string' && /^\d+$/.test(value);
}
