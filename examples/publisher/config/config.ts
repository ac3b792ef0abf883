import { complaintOf } from './complaint.ts';
import { type Flags, UsageError } from './flags.ts';
import { CONFIG_VARIABLE, environmentLayer, type Fields, fileLayer, flagLayer, type Layer, pathOf } from './layer.ts';
import { LISTS, OBJECTS } from './options.ts';
import { type Config, schema } from './schema.ts';
import { tokensOf } from './tokens.ts';

export type { Config } from './schema.ts';

export interface Loaded {
  readonly config: Config;
  /** Where each option that is not at its default was given. */
  readonly origins: Readonly<Record<string, string>>;
}

/** As `load`, without the origins. */
export function loadConfig(flags: Flags, env: NodeJS.ProcessEnv = process.env): Config {
  return load(flags, env).config;
}

/**
 * The configuration file, if one is named, with the environment over it and the flags over both.
 *
 * @throws UsageError with a line for everything that is wrong, which names the flag, the variable, or the file and the
 * path in it, what was received and what is allowed.
 */
export function load(flags: Flags, env: NodeJS.ProcessEnv): Loaded {
  const path = (flags.config as string | undefined) ?? (env[CONFIG_VARIABLE] || undefined);
  const layers = [...(path === undefined ? [] : [fileLayer(path)]), environmentLayer(env), flagLayer(flags)];
  // Each is judged by itself first, so that what is wrong is named as it was written; of all it would be said again.
  const ofLayers = layers.flatMap(({ fields, complaints, where }) => [
    ...complaints,
    ...judged(fields, where).complaints,
  ]);
  const tokens = tokensOf(layers, env);
  const { config, complaints } = judged({ ...joined(layers), ...tokens.fields }, pathOf);
  const ofAll = ofLayers.length > 0 ? ofLayers : [...complaints, ...portComplaints(config)];
  const wrong = [...ofAll, ...tokens.complaints];
  if (!config || wrong.length > 0) throw new UsageError(wrong.join('\n'));
  const isEmpty = [config.device, config.peer, Object.keys(config.source)].every(({ length }) => length === 0);
  const demo = isEmpty && path === undefined ? { demo: true } : {};
  return { config: { ...config, ...demo }, origins: originsOf(layers) };
}

/** Lists of all layers are one list; of what has ids, as of everything else, the last layer wins. */
function joined(layers: readonly Layer[]): Fields {
  const all = layers.map(({ fields }) => fields);
  const lists = LISTS.map((name) => [name, [...new Set(all.flatMap((fields) => (fields[name] ?? []) as string[]))]]);
  const objects = OBJECTS.map((name) => [name, Object.assign({}, ...all.map((fields) => fields[name]))]);
  return { ...Object.assign({}, ...all), ...Object.fromEntries([...lists, ...objects]) };
}

function judged(fields: unknown, where: Layer['where']): { config?: Config | undefined; complaints: string[] } {
  const { data: config, error } = schema.safeParse(fields, { reportInput: true });
  return { config, complaints: error?.issues.map((issue) => complaintOf(issue, where)) ?? [] };
}

/** Discovery is UDP, but control is TCP on the same port, as HTTP is. */
function portComplaints(config: Config | undefined): string[] {
  if (!config || config.discovery === 'off' || config.port !== config.discoveryPort) return [];
  return [
    `port and discoveryPort must differ, received ${config.port} for both: players control a device by TCP on the port ` +
      'of its discovery, where HTTP would be; choose another with --port or --discovery-port, or --discovery off',
  ];
}

function originsOf(layers: readonly Layer[]): Record<string, string> {
  const origins: Record<string, string> = {};
  const isJoined = (option: string) => [...LISTS, ...OBJECTS].some((name) => name === option);
  for (const { fields, where } of layers) {
    for (const option of Object.keys(fields)) {
      const before = isJoined(option) ? origins[option] : undefined;
      origins[option] = before === undefined ? where([option]) : `${before} and ${where([option])}`;
    }
  }
  return origins;
}
