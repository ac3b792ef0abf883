import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { findFfmpeg, findFfprobe } from '../../examples/hdhomerun/ffmpeg.ts';

/** A look at MPEG-TS that is independent of ffmpeg: sync, continuity, tables. */

const PACKET_BYTES = 188;
const SYNC = 0x47;
const NULL_PID = 0x1fff;
const SDT_PID = 0x11;
const SERVICE_DESCRIPTOR = 0x48;

export interface TransportStreamReport {
  readonly packets: number;
  /** Packets without the sync byte. */
  readonly syncErrors: number;
  /** Packets whose counter does not follow the one before with the same PID. */
  readonly continuityErrors: number;
  /** Packets of each PID. */
  readonly pids: ReadonlyMap<number, number>;
  /** From the service description table. */
  readonly serviceName: string | undefined;
}

/** Reads whole packets from the first byte on; what follows the last whole one is left out. */
export function inspectTransportStream(bytes: Buffer): TransportStreamReport {
  const counters = new Map<number, number>();
  const pids = new Map<number, number>();
  let [syncErrors, continuityErrors, serviceName] = [0, 0, undefined as string | undefined];
  const packets = Math.floor(bytes.length / PACKET_BYTES);
  for (let index = 0; index < packets; index++) {
    const packet = bytes.subarray(index * PACKET_BYTES, (index + 1) * PACKET_BYTES);
    if (packet[0] !== SYNC) {
      syncErrors += 1;
      continue;
    }
    const pid = packet.readUInt16BE(1) & 0x1fff;
    pids.set(pid, (pids.get(pid) ?? 0) + 1);
    if (breaksContinuity(packet, pid, counters)) continuityErrors += 1;
    if (pid === SDT_PID) serviceName ??= serviceNameOf(packet);
  }
  return { packets, syncErrors, continuityErrors, pids, serviceName };
}

/** The counter grows by one with each packet of a PID that has a payload, and stays with one that has none. */
function breaksContinuity(packet: Buffer, pid: number, counters: Map<number, number>): boolean {
  if (pid === NULL_PID) return false;
  const control = packet[3] as number;
  const [counter, hasPayload] = [control & 0x0f, (control & 0x10) !== 0];
  const previous = counters.get(pid);
  counters.set(pid, counter);
  return previous !== undefined && counter !== (hasPayload ? (previous + 1) & 0x0f : previous);
}

/** Descriptor 0x48: type, length and provider, length and name. */
function serviceNameOf(packet: Buffer): string | undefined {
  const at = packet.indexOf(SERVICE_DESCRIPTOR, 4 + 1 + 11);
  const providerBytes = packet[at + 3];
  if (at < 0 || providerBytes === undefined) return undefined;
  const nameAt = at + 4 + providerBytes;
  const nameBytes = packet[nameAt] ?? 0;
  return packet.toString('utf8', nameAt + 1, nameAt + 1 + nameBytes);
}

/** How many pictures the real ffmpeg decodes of some bytes. */
export function picturesIn(bytes: Buffer): number {
  const args = ['-v', 'error', '-f', 'mpegts', '-i', 'pipe:0', '-map', '0:v', '-f', 'framehash', '-'];
  const { stdout } = spawnSync(findFfmpeg(), args, { input: bytes, encoding: 'utf8' });
  return stdout.split('\n').filter((line) => /^\d/.test(line)).length;
}

/** What ffprobe makes of a file or URL. */
export interface ProbedStream {
  readonly programs: readonly { readonly tags?: { readonly service_name?: string } }[];
  readonly streams: readonly { readonly codec_type: string; readonly codec_name: string }[];
}

/**
 * Asks the real ffprobe. The static build of the npm package crashes when it converts the names in an SDT, because it
 * loads the system's converters into another libc; without a `GCONV_PATH` that exists it takes the names as they are.
 */
export async function probe(input: string): Promise<ProbedStream> {
  const what = ['-show_entries', 'program_tags=service_name:stream=codec_type,codec_name', '-of', 'json'];
  const env = { ...process.env, GCONV_PATH: '/nonexistent' };
  const limits = ['-probesize', '500000', '-analyzeduration', '2000000'];
  const { stdout } = await promisify(execFile)(findFfprobe(), ['-v', 'error', ...limits, ...what, input], { env });
  return JSON.parse(stdout);
}
