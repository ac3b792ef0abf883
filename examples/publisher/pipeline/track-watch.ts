import { leads, PacketReader, type Program, ProgramTables, packetAt } from '../../mpeg-ts/index.ts';

/**
 * Notices when MPEG-TS goes on with other tracks, as it does where another source takes over: who has found out which there
 * are, as ffmpeg has, waits for the old ones for ever. That data comes or goes changes nothing.
 */
export class TrackWatch {
  readonly #packets = new PacketReader();
  readonly #tables = new ProgramTables();
  /** The program that is shown, as it was first. */
  #shown: Program | undefined;
  #hasChanged = false;

  /** Whether the tracks are others by now than they were at the begin. */
  hasChanged(bytes: Buffer): boolean {
    this.#packets.read(bytes, (packets, at) => this.#read(packets, at));
    return this.#hasChanged;
  }

  #read(packets: Buffer, at: number): void {
    if (!this.#tables.has(packets.readUInt16BE(at + 1) & 0x1fff)) return;
    const packet = packetAt(packets, at);
    if (!packet) return;
    this.#tables.read(packet, 0);
    this.#look();
  }

  /** Which program is shown may be known only when the tables of others have come: that is no change. */
  #look(): void {
    const { programs } = this.#tables;
    const first = programs.find(({ streams }) => [...streams.values()].some((stream) => leads(stream, programs)));
    const before = this.#shown;
    if (!first) return;
    const now = programs.find(({ number }) => number === before?.number);
    if (before && (!now || tracksOf(now) !== tracksOf(before))) this.#hasChanged = true;
    this.#shown = first;
  }
}

function tracksOf({ streams }: Program): string {
  const tracks = Array.from(streams).filter(([, { isVideo, isSound }]) => isVideo || isSound);
  return tracks.map(([pid, { codec, type }]) => `${pid} ${codec ?? type}`).join();
}
