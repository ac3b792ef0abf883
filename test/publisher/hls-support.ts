import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { findFfmpeg, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { recordedPictureArguments } from '../../examples/hdhomerun/test-picture.ts';
import {
  type FetchedSegment,
  type MediaPlaylist,
  type PlaylistSegment,
  parseMediaPlaylist,
} from '../support/hls-rules.ts';

/** Two key frames in a second, so that segments can be short. */
const GROUP = '12';

/** Eight seconds of small pictures. */
export async function quickRecording(megabits = 0.5): Promise<Buffer> {
  const args = recordedPictureArguments({ name: 'quick', toneHz: 440, width: 320, height: 180 }, megabits);
  const options = { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 } as const;
  const group = args.indexOf('-g') + 1;
  return (await promisify(execFile)(findFfmpeg(), args.with(group, GROUP), options)).stdout;
}

/** A simulator whose channels can be cut into segments of half a second, `--hls-segment-ms 500`, at next to no cost. */
export async function quickSimulator(): Promise<HdhomerunSimulator> {
  return HdhomerunSimulator.start({ recording: await quickRecording() });
}

/** A player of HLS, without a screen: asks for playlists and for every segment that is listed. */
export class HlsPlayer implements AsyncDisposable {
  readonly playlists: MediaPlaylist[] = [];
  readonly segments: FetchedSegment[] = [];
  /** Segments that were listed and could not be had. */
  readonly missing: string[] = [];
  readonly media: string;

  /** Resolves when there is something to play. */
  static async open(url: string): Promise<HlsPlayer> {
    const response = await fetch(url);
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
    const [variant] = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return new HlsPlayer(new URL(variant as string, url).href);
  }

  constructor(media: string) {
    this.media = media;
  }

  /** It says that it leaves, as the page does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await fetch(this.media, { method: 'DELETE' });
  }

  /** The last segment that was listed. */
  get newest(): PlaylistSegment | undefined {
    return this.playlists.at(-1)?.segments.at(-1);
  }

  /** Asks once for the playlist, and for the segments that are new; tells the status of the playlist. */
  async poll(): Promise<number> {
    const response = await fetch(this.media);
    const text = await response.text();
    if (response.status !== 200) return response.status;
    const playlist = parseMediaPlaylist(text);
    this.playlists.push(playlist);
    const known = this.segments.at(-1)?.sequence ?? -1;
    for (const segment of playlist.segments.filter(({ sequence }) => sequence > known)) await this.#fetch(segment);
    return 200;
  }

  /** Polls until it has so many segments more. */
  async more(count: number, timeoutMs = 30_000): Promise<void> {
    const wanted = this.segments.length + count;
    const deadline = performance.now() + timeoutMs;
    while (this.segments.length < wanted) {
      const status = await this.poll();
      if (performance.now() > deadline) throw new Error(`${this.segments.length} segments of ${wanted}; ${status}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async #fetch(segment: PlaylistSegment): Promise<void> {
    const response = await fetch(new URL(segment.uri, this.media));
    const bytes = Buffer.from(await response.arrayBuffer());
    if (response.status === 200) this.segments.push({ ...segment, bytes });
    else this.missing.push(`${segment.uri}: ${response.status}`);
  }
}
