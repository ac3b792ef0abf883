import type { Readable } from 'node:stream';
import { type FanoutHub, ManagedChild, type ProcessPool } from 'holdfast';

/** Long enough for the key frame that the hub begins with to be whole. */
const COLLECT_MS = 1_000;
const LOOK_MS = 40;
const MAX_BYTES = 8 * 1024 * 1024;
const PICTURE_MS = 10_000;
const GRACE_MS = 100;

/** One picture of MPEG-TS from stdin: its first, as a small JPEG. */
const ARGUMENTS = [
  ...['-nostdin', '-hide_banner', '-loglevel', 'error', '-threads', '1'],
  ...['-f', 'mpegts', '-probesize', '1000000', '-analyzeduration', '1000000', '-i', 'pipe:0'],
  ...['-map', '0:v:0', '-frames:v', '1', '-vf', 'scale=320:-2', '-threads', '1'],
  ...['-f', 'image2pipe', '-c:v', 'mjpeg', '-q:v', '5', '-pix_fmt', 'yuvj420p', 'pipe:1'],
];

/** What a live hub gives from its last join point on, for a moment. It leaves as soon as nobody else watches, and opens none. */
async function collect(hub: FanoutHub): Promise<Buffer> {
  if (hub.state !== 'live' || hub.subscribers === 0) throw new Error('nobody watches it any more');
  const leaving = new AbortController();
  const chunks: Buffer[] = [];
  let length = 0;
  const begun = performance.now();
  const look = setInterval(() => {
    const isDone = performance.now() - begun > COLLECT_MS || length > MAX_BYTES;
    if (isDone || hub.subscribers <= 1 || hub.state !== 'live') leaving.abort();
  }, LOOK_MS);
  try {
    for await (const chunk of hub.subscribe({ signal: leaving.signal, onLag: 'skip' })) {
      length += chunk.length;
      if (length <= MAX_BYTES) chunks.push(chunk);
    }
  } catch {
    // What came until then may do.
  } finally {
    clearInterval(look);
  }
  if (length === 0) throw new Error('it gave nothing');
  return Buffer.concat(chunks);
}

export interface Encoding {
  readonly ffmpeg: string;
  readonly pool: ProcessPool;
  readonly signal: AbortSignal;
}

/** A JPEG of what a live hub gives; rejects if there is none. Nothing is kept, and no time counted, before it is its turn. */
export async function pictureOf(hub: FanoutHub, { ffmpeg, pool, signal }: Encoding): Promise<Buffer> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let bytes: Buffer | undefined;
  const spawn = async ({ signal }: { readonly signal: AbortSignal }): Promise<ManagedChild> => {
    timer = setTimeout(() => late.abort(new Error('it takes too long')), PICTURE_MS);
    bytes = await collect(hub);
    return ManagedChild.spawn(ffmpeg, ARGUMENTS, {
      signal,
      stdin: 'pipe',
      graceMs: GRACE_MS,
      name: 'ffmpeg (preview)',
    });
  };
  const limited = AbortSignal.any([signal, late.signal]);
  try {
    await using lease = await pool.acquire(spawn, { signal: limited, timeoutMs: Number.POSITIVE_INFINITY });
    return await encoded(lease.child, bytes, limited);
  } finally {
    clearTimeout(timer);
  }
}

async function encoded(child: ManagedChild, bytes: Buffer | undefined, limited: AbortSignal): Promise<Buffer> {
  const end = () => void child.terminate('it takes too long').catch(() => {});
  limited.addEventListener('abort', end, { once: true });
  try {
    // It may have seen enough before it has read all.
    child.stdin?.on('error', () => {});
    child.stdin?.end(bytes);
    const picture = await contentOf(child.stdout as Readable);
    const { code, stderrTail } = await child.closed;
    if (code === 0 && picture.length > 0) return picture;
    throw new Error(stderrTail.trim().split('\n').at(-1) || 'ffmpeg gave no picture');
  } finally {
    limited.removeEventListener('abort', end);
  }
}

async function contentOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
