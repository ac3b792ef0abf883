import { createSocket } from 'node:dgram';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { createServer, isIPv6 } from 'node:net';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { DeviceClient, findFfmpeg } from '../../hdhomerun/index.ts';
import { bindAddress, discoveryAddress } from '../device/presence.ts';
import { unreadableFiles } from '../directory/configured-sources.ts';
import { listenError } from '../http/server.ts';
import { checkLockDirectory } from '../lock-directory.ts';
import { HardwareEncoders } from '../pipeline/hardware.ts';
import { stateDir } from '../state/state-directory.ts';
import type { Config } from './config.ts';

/** What is known of a configuration without running it. */
export interface Verdict {
  /** It would not run. */
  readonly complaints: readonly string[];
  /** It would run, and something would be missing. */
  readonly warnings: readonly string[];
}

const DEVICE_TIMEOUT_MS = 2_000;
/** Of all users of this host, where no other is named. */
const SHARED_LOCK_DIRECTORY = '/run/holdfast/locks';

/** Checks everything that can be checked without a tuner. */
export async function checkHost(config: Config): Promise<Verdict> {
  const complaints: string[] = [];
  const warnings = [
    ...missingFfmpeg(),
    ...unreadableFiles(config.source),
    ...missingGuides(config),
    ...aboutIds(config),
  ];
  complaints.push(...(await lockComplaints(config, (text) => warnings.push(text))));
  complaints.push(...directoryComplaints('state', stateDir(config)));
  const port = await portComplaint(config);
  if (port) (port.code === 'EADDRINUSE' ? warnings : complaints).push(port.text);
  const more = await Promise.all([
    ...config.device.map(deviceWarning),
    discoveryWarning(config),
    hardwareWarning(config),
  ]);
  return { complaints, warnings: [...warnings, ...more.flat()] };
}

function missingFfmpeg(): string[] {
  try {
    findFfmpeg();
    return [];
  } catch (error) {
    return [`${textOf(error)}; until then only MPEG-TS over HTTP can be watched`];
  }
}

function missingGuides({ guide }: Config): string[] {
  return guide
    .filter((address) => !/^https?:/i.test(address) && address !== 'device')
    .map((address) => (/^file:/i.test(address) ? fileURLToPath(address) : address))
    .flatMap((path) =>
      unusable(path, constants.R_OK).map((why) => `guide ${path} ${why}; it is read as soon as it can be`),
    );
}

/** What players show as one channel, or what is sent to one place twice. */
function aboutIds({ source, push, channel }: Config): string[] {
  const numbers = Object.entries({ ...channel, ...source }).map(([id, { number }]) => [id, number] as const);
  const urls = Object.entries(push).map(([id, { url }]) => [id, url] as const);
  return [
    ...twice(numbers).map(([a, b, number]) => `${a} and ${b} have the same number, ${number}`),
    ...twice(urls).map(([a, b]) => `the pushes ${a} and ${b} go to the same address`),
  ];
}

function twice(given: readonly (readonly [id: string, value: string | undefined])[]): [string, string, string][] {
  const first = new Map<string, string>();
  return given.flatMap(([id, value]): [string, string, string][] => {
    if (value === undefined) return [];
    const other = first.get(value);
    if (other === undefined) first.set(value, id);
    return other === undefined ? [] : [[other, id, value]];
  });
}

/** Locks are tried in a directory of this user alone: what they leave in that of another may be closed to that one. */
async function lockComplaints({ lockDir }: Config, warn: (text: string) => void): Promise<string[]> {
  const named = lockDir ?? (process.env.HOLDFAST_LOCK_DIR || undefined);
  const path = resolve(named ?? SHARED_LOCK_DIRECTORY);
  const complaints = directoryComplaints('lock', path);
  // Where none is named and the shared one can't be made, another is taken, which is that of this user.
  const isToBeMade = !existsSync(path) && (named !== undefined || complaints.length === 0);
  if (isToBeMade || isOfAnother(path)) return complaints;
  try {
    await checkLockDirectory(lockDir, warn);
    return [];
  } catch (error) {
    return [textOf(error)];
  }
}

function isOfAnother(path: string): boolean {
  return existsSync(path) && statSync(path).uid !== process.geteuid?.();
}

/** Nothing is made: whoever checks may be another user than who runs it, and would own it. */
function directoryComplaints(what: 'lock' | 'state', path: string): string[] {
  let there = path;
  while (!existsSync(there)) there = dirname(there);
  const cannot = there === path ? '' : `can't be made: ${there} `;
  return unusable(there, constants.W_OK | constants.X_OK).map(
    (why) => `the ${what} directory ${path} ${cannot}${why}; choose another with --${what}-dir`,
  );
}

async function portComplaint({ port, bind }: Config): Promise<{ code: string | undefined; text: string } | undefined> {
  const error = await listenFault(port, bind);
  return error && { code: error.code, text: listenError(error, { port, bind }).message };
}

async function listenFault(port: number, bind: string): Promise<NodeJS.ErrnoException | undefined> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException | undefined>();
  server.once('error', resolve).listen(port, bind, () => resolve(undefined));
  const error = await promise;
  server.close();
  return error;
}

async function datagramFault(port: number, bind: string): Promise<NodeJS.ErrnoException | undefined> {
  const address = discoveryAddress(await bindAddress(bind));
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException | undefined>();
  socket.once('error', resolve).bind(port, address, () => resolve(undefined));
  const error = await promise;
  socket.close();
  return error;
}

/** Where it is `auto`, what keeps it from being answered keeps nothing else. */
async function discoveryWarning({ discovery, discoveryPort, bind }: Config): Promise<string[]> {
  if (discovery !== 'on') return [];
  // Control is TCP.
  const error = (await listenFault(discoveryPort, bind)) ?? (await datagramFault(discoveryPort, bind));
  if (!error) return [];
  const advice = 'it will not start while that is so; see --discovery and --discovery-port';
  return [`discovery can't be answered on port ${discoveryPort} of ${bind} (${error.code}): ${advice}`];
}

/** What is found by itself needs no check. */
async function hardwareWarning({ hardware }: Config): Promise<string[]> {
  if (hardware === 'auto') return [];
  await using encoders = new HardwareEncoders({
    wanted: () => hardware,
    ffmpeg: findFfmpeg,
    log: pino({ enabled: false }),
  });
  try {
    await encoders.encoder();
    return [];
  } catch (error) {
    return [`${textOf(error)}; until then no profile is encoded`];
  }
}

async function deviceWarning(address: string): Promise<string[]> {
  try {
    await DeviceClient.at(address, { timeoutMs: DEVICE_TIMEOUT_MS });
    return [];
  } catch (error) {
    return [`${textOf(error)}; its channels are published as soon as it answers`];
  }
}

function unusable(path: string, mode: number): string[] {
  try {
    accessSync(path, mode);
    return [];
  } catch (error) {
    return [`can't be ${mode === constants.R_OK ? 'read' : 'written'} (${(error as NodeJS.ErrnoException).code})`];
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
