import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { ManagedChild } from 'holdfast';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { debianProgram } from '../../test/support/debian.ts';
import { eventually } from '../../test/support/eventually.ts';
import { freePort } from '../../test/support/ports.ts';
import type { Tools } from './build.ts';

/** What a source writes. */
export interface Feed {
  readonly bitsPerSecond: number;
  /** In each write. */
  readonly bytes: number;
}

/** A server that runs and hands out a source. */
interface Server extends AsyncDisposable {
  readonly port: number;
  readonly path: string;
  /** Those whose CPU time and memory it costs; the program that makes the source up is none of them. */
  readonly pids: readonly number[];
}

export type StartServer = (tools: Tools, feed: Feed) => Promise<Server>;

const SLICE_MS = '40';
const SERVER = new URL('server.ts', import.meta.url).pathname;

/** What the kernel allows. */
export const limit: StartServer = async (tools, feed) => {
  const port = await freePort();
  return reading(port, tools, [tools.feed, ...argumentsOf(feed)], [tools.limit, String(port), SLICE_MS]);
};

type Command = readonly [program: string, ...args: readonly string[]];

/** A server that reads the source from its stdin. */
async function reading(
  port: number,
  tools: Tools,
  source: Command,
  [program, ...args]: Command,
  env = process.env,
): Promise<Server> {
  const pipe = join(tools.folder, `pipe-${port}`);
  execFileSync('mkfifo', [pipe]);
  // Each its own: the one reads without waiting, the other has to wait.
  const [stdin, stdout] = [openSync(pipe, constants.O_RDWR), openSync(pipe, constants.O_WRONLY)];
  const server = await ManagedChild.spawn(program, args, { stdin, env, graceMs: 0 });
  const feeding = await ManagedChild.spawn(source[0], source.slice(1), { stdout, graceMs: 0 });
  closeSync(stdin);
  closeSync(stdout);
  return serving(port, '/', [server], [feeding]);
}

/** A way of server.ts, by a Node with these flags. */
export const node =
  (way: string, ...flags: readonly string[]): StartServer =>
  async (tools, feed) => {
    const port = await freePort();
    return serving(port, '/', [await nodeServer(way, port, socketIn(tools), tools, feed, flags)]);
  };

/** Two hubs in two processes that share a port: one reads the source, and the other has it from there. */
export const twoHubs: StartServer = async (tools, feed) => {
  const port = await freePort();
  const socket = socketIn(tools);
  const servers = ['hub', 'relay'].map((way) => nodeServer(way, port, socket, tools, feed));
  return serving(port, '/', await Promise.all(servers));
};

function nodeServer(
  way: string,
  port: number,
  socket: string,
  tools: Tools,
  feed: Feed,
  flags: readonly string[] = [],
): Promise<ManagedChild> {
  const args = [...flags, SERVER, way, String(port), socket, tools.feed, ...argumentsOf(feed)];
  // While the kernel deals out connections to those who share a port, none may join them: it loses some then.
  return ManagedChild.spawn(process.execPath, args, { ready: { when: 'stdout', timeoutMs: 30_000 } });
}

let sockets = 0;
/** Of its own for each: a port may come again, and a server that was ended has left its socket. */
const socketIn = (tools: Tools) => join(tools.folder, `${++sockets}.sock`);

/** A real streaming server, which is sent the source; `undefined` where it can't be had. */
export async function icecast(): Promise<StartServer | undefined> {
  const packages = ['icecast2', 'libspeex1', 'libtheora0', 'libvorbis0a', 'libogg0'];
  const program = await debianProgram('icecast2', packages);
  if (!program) return undefined;
  return async (tools, feed) => {
    const port = await freePort();
    const config = join(tools.folder, `icecast-${port}.xml`);
    writeFileSync(config, icecastConfig(port, tools.folder));
    mkdirSync(join(tools.folder, 'web'), { recursive: true });
    const [command, ...args] = notAsRoot(program.path, '-c', config);
    const server = await ManagedChild.spawn(command, args, { env: program.env, stdout: 'ignore' });
    await answering(port);
    const source = await ManagedChild.spawn(tools.feed, [...argumentsOf(feed), String(port), ICECAST_HEAD]);
    const icecast = await serving(port, '/live', [server], [source]);
    await eventually(async () => {
      const { ok, body } = await fetch(`http://127.0.0.1:${port}/live`);
      await body?.cancel();
      if (!ok) throw new Error('icecast2 has no source yet');
    });
    return icecast;
  };
}

/** A player that can serve: it takes a stream apart and puts it together again. `undefined` where it can't be had. */
export async function vlc(): Promise<StartServer | undefined> {
  const packages = ['vlc-bin', 'libvlc5', 'libvlccore9', 'vlc-plugin-base', 'libdvbpsi10', 'libidn12', 'libaribb24-0'];
  const program = await debianProgram('vlc', packages);
  if (!program) return undefined;
  const unpacked = join(dirname(program.path), '../lib/x86_64-linux-gnu/vlc/plugins');
  const env = { ...program.env, ...(existsSync(unpacked) && { VLC_PLUGIN_PATH: unpacked }) };
  return async (tools, feed) => {
    const port = await freePort();
    const out = `#std{access=http,mux=ts,dst=127.0.0.1:${port}/}`;
    const source = [findFfmpeg(), '-v', 'error', '-re', '-stream_loop', '-1', '-i', television(tools, feed)] as const;
    return reading(
      port,
      tools,
      [...source, '-c', 'copy', '-f', 'mpegts', '-flush_packets', '1', 'pipe:1'],
      notAsRoot(program.path, '-I', 'dummy', '-', '--sout', out),
      env,
    );
  };
}

/** What feed.c writes is none, and VLC takes nothing else. Recorded once. */
function television({ folder }: Tools, { bitsPerSecond }: Feed): string {
  const path = join(folder, `television-${bitsPerSecond}.ts`);
  if (existsSync(path)) return path;
  const rate = String(bitsPerSecond * 0.93); // the rest is sound, and what the transport adds
  execFileSync(findFfmpeg(), [
    ...['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=size=1280x720:rate=25,noise=alls=40:allf=t'],
    ...['-f', 'lavfi', '-i', 'sine', '-t', '10', '-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p'],
    ...['-b:v', rate, '-minrate', rate, '-maxrate', rate, '-bufsize', '2M', '-g', '50'],
    ...['-x264-params', 'nal-hrd=cbr', '-c:a', 'mp2', '-f', 'mpegts', path],
  ]);
  return path;
}

/** Some refuse to run as root. */
function notAsRoot(...command: Command): Command {
  return process.getuid?.() === 0 ? [...AS_NOBODY, ...command] : command;
}

const AS_NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] as const;
const ICECAST_HEAD = `PUT /live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ${btoa('source:bench')}\r\nContent-Type: video/mp2t\r\n\r\n`;

const icecastConfig = (port: number, folder: string) => `<icecast>
  <limits><clients>5000</clients><sources>2</sources><queue-size>268435456</queue-size></limits>
  <authentication><source-password>bench</source-password></authentication>
  <hostname>localhost</hostname>
  <listen-socket><port>${port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <paths><logdir>${folder}</logdir><webroot>${folder}/web</webroot><adminroot>${folder}/web</adminroot></paths>
  <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>1</loglevel></logging>
</icecast>
`;

const argumentsOf = ({ bitsPerSecond, bytes }: Feed) => [String(bitsPerSecond), String(bytes)];

async function serving(
  port: number,
  path: string,
  servers: readonly ManagedChild[],
  sources: readonly ManagedChild[] = [],
): Promise<Server> {
  const all = [...sources, ...servers];
  const end = () => Promise.all(all.map((child) => child[Symbol.asyncDispose]()));
  try {
    await answering(port);
  } catch (error) {
    await end();
    const said = all.map((child) => child.stderrTail()).join('\n');
    throw new Error(`a server did not start: ${said}`, { cause: error });
  }
  return { port, path, pids: servers.map(({ pid }) => pid), [Symbol.asyncDispose]: async () => void (await end()) };
}

async function answering(port: number): Promise<void> {
  await eventually(async () => {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
    } finally {
      socket.destroy();
    }
  }, 10_000);
}
