import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { FanoutHub, ManagedChild } from 'holdfast';
import { findFfmpeg, findFfprobe } from '../../examples/hdhomerun/index.ts';
import { mpegTsJoinPoint } from '../../examples/mpeg-ts/index.ts';

const GOP_SECONDS = 2;
const RATE = 25;

/** Television: H.264 with a group of pictures of two seconds, and sound, in real time. */
const television = [
  ...[
    '-v',
    'error',
    '-re',
    '-f',
    'lavfi',
    '-i',
    `testsrc2=size=1280x720:rate=${RATE}`,
    '-re',
    '-f',
    'lavfi',
    '-i',
    'sine',
  ],
  ...[
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-tune',
    'zerolatency',
    '-b:v',
    '4M',
    '-maxrate',
    '4M',
    '-bufsize',
    '4M',
  ],
  ...[
    '-g',
    String(GOP_SECONDS * RATE),
    '-keyint_min',
    String(GOP_SECONDS * RATE),
    '-sc_threshold',
    '0',
    '-pix_fmt',
    'yuv420p',
  ],
  ...['-c:a', 'mp2', '-f', 'mpegts', '-flush_packets', '1', 'pipe:1'],
];

/** They look at a stream for five seconds else before they decode any of it. */
const LIVE = ['-analyzeduration', '500000'];

/** Players that end with the first picture they have decoded. */
const players: Record<string, (url: string) => readonly string[]> = {
  ffprobe: (url) => [
    ...[findFfprobe(), '-v', 'error', ...LIVE, '-select_streams', 'v', '-read_intervals', '%+#1'],
    ...['-show_entries', 'frame=pict_type', '-of', 'csv', url],
  ],
  ffmpeg: (url) => [
    findFfmpeg(),
    '-v',
    'error',
    ...LIVE,
    '-i',
    url,
    '-map',
    '0:v',
    '-frames:v',
    '1',
    '-f',
    'null',
    '-',
  ],
  mpv: (url) => ['mpv', '--no-config', '--vo=null', '--ao=null', '--frames=1', '--really-quiet', url],
};

export interface Join {
  readonly player: string;
  /** Milliseconds to the first decoded picture for one who comes at a join point, and for one who comes anywhere. */
  readonly joined: readonly number[];
  readonly blind: readonly number[];
}

/** Viewers who come late, at all times of a group of pictures, to one source; both kinds in turn. */
export async function lateJoiners(times: number): Promise<Join[]> {
  await using tv = new FanoutHub({ source: ({ signal }) => ManagedChild.spawn(findFfmpeg(), television, { signal }) });
  const behind = (options: object) =>
    new FanoutHub({
      source: ({ signal }) => Readable.from(tv.subscribe({ signal }), { objectMode: false }),
      align: 188,
      ...options,
    });
  await using joined = behind({ joinPoint: mpegTsJoinPoint() });
  await using blind = behind({});
  const hubs = { joined, blind };
  const server = createServer(
    (request, response) => void hubs[request.url === '/joined' ? 'joined' : 'blind'].pipe(response),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // Somebody watches already.
  for (const hub of Object.values(hubs)) hub.pipe(new PassThrough().resume());
  await pause(2 * GOP_SECONDS * 1_000);
  const joins: Join[] = [];
  for (const [player, command] of Object.entries(players)) {
    const taken: Record<keyof typeof hubs, number[]> = { joined: [], blind: [] };
    for (let time = 0; time < times; time++) {
      for (const way of ['joined', 'blind'] as const) {
        await pause(phaseAt(time / times));
        const ms = await timeOf(command(`http://127.0.0.1:${port}/${way}`));
        if (ms !== undefined) taken[way].push(ms);
      }
    }
    if (taken.joined.length === times && taken.blind.length === times) joins.push({ player, ...taken });
  }
  server.closeAllConnections();
  server.close();
  return joins;
}

/** How long it is to that part of the next group of pictures, by the clock: nobody knows where the stream's begins. */
function phaseAt(part: number): number {
  const period = GOP_SECONDS * 1_000;
  return (part * period - (performance.now() % period) + period) % period;
}

/** `undefined` where the player can't be had. */
async function timeOf([command = '', ...args]: readonly string[]): Promise<number | undefined> {
  const begun = performance.now();
  // The static ffprobe crashes where it finds the character sets of the system.
  const env = { ...process.env, GCONV_PATH: '/nonexistent' };
  const child = spawn(command, args, { stdio: 'ignore', timeout: 30_000, env });
  const code = await new Promise<number | null>((resolve) =>
    child.once('error', () => resolve(null)).once('close', resolve),
  );
  return code === 0 ? performance.now() - begun : undefined;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
