import { redactCredentials } from 'holdfast';
import { z } from 'zod';
import { PushTarget } from '../push/push-target.ts';
import type { Loaded } from './config.ts';
import { OPTIONS } from './options.ts';
import { type Config, schema } from './schema.ts';

const HIDDEN = '***';

/** As a file of the configuration would say it, without its secrets. */
export function printedConfig(config: Config): string {
  return `${JSON.stringify(withoutSecrets(config), null, 2)}\n`;
}

/** For people: where what is not at its default was given. */
export function printedOrigins({ origins }: Loaded): string {
  const options = Object.keys(OPTIONS).filter((option) => origins[option] !== undefined);
  const width = Math.max(0, ...options.map((option) => option.length));
  return options.map((option) => `${option.padEnd(width)}  from ${origins[option]}\n`).join('');
}

function withoutSecrets(config: Config): object {
  // Of a token and the file that it is in, a configuration has one.
  const said = Object.entries(config).filter(([option]) => config[`${option}File` as keyof Config] === undefined);
  return Object.fromEntries(said.map(([option, value]) => [option, shown(option, value)]));
}

function shown(option: string, value: unknown): unknown {
  if (/Token$/.test(option) && value !== undefined) return HIDDEN;
  return option === 'push' ? shownPushes(value as Config['push']) : redacted(value);
}

/** The whole of such an address may be secret, as the path of rtmp is. */
function shownPushes(pushes: Config['push']): object {
  const entries = Object.entries(pushes).map(([id, push]) => [id, { ...push, url: new PushTarget(push.url).shown }]);
  return Object.fromEntries(entries);
}

/** For editors, which complete and check a file that names it as its `$schema`. */
export function printedSchema(): string {
  const { properties, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  const explained = Object.entries(OPTIONS).map(([option, { help }]) => {
    return [option, { ...(properties?.[option] as object), description: help }];
  });
  const all = { $schema: { type: 'string' }, ...Object.fromEntries(explained) };
  return `${JSON.stringify({ ...rest, title: 'The configuration of holdfast-publisher', properties: all }, null, 2)}\n`;
}

function redacted(value: unknown): unknown {
  if (typeof value === 'string') return redactCredentials(value);
  if (Array.isArray(value)) return value.map(redacted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, redacted(entry)]));
}
