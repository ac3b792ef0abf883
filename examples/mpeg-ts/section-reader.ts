import { crc32 } from './crc.ts';
import type { Packet } from './packet.ts';

/** What follows the last section in a packet. */
const STUFFING = 0xff;
/** The length, and what it does not count. */
const LENGTH_END = 3;
const HEADER_BYTES = 8;
const CRC_BYTES = 4;
const NOTHING = Buffer.alloc(0);

/** A section of a table (ISO/IEC 13818-1, 2.4.4.10), which counts already. */
export interface Section {
  readonly tableId: number;
  /** What the table is of: a program, or a transport stream. */
  readonly id: number;
  readonly version: number;
  /** Its place in the table. */
  readonly number: number;
  readonly content: Buffer;
  /** What was given with the packet in which it began. */
  readonly mark: number;
}

/** Puts the sections of one PID together: one may take many packets, and many may share one. */
export class SectionReader {
  /** Of a section that is not whole yet. */
  #begun: Buffer | undefined;
  #mark = 0;
  #continuity = 0;

  /** The sections that are whole with this packet. */
  read({ isStart, continuity, payload }: Packet, mark: number): Section[] {
    if (payload.length === 0) return [];
    // Where a packet is missing, what was begun is no use.
    if (continuity !== ((this.#continuity + 1) & 0xf)) this.#begun = undefined;
    this.#continuity = continuity;
    if (!isStart) return this.#take(payload);
    const begin = 1 + (payload[0] as number);
    const ended = this.#take(payload.subarray(1, begin));
    this.#begun = NOTHING;
    this.#mark = mark;
    return [...ended, ...this.#take(payload.subarray(begin))];
  }

  #take(bytes: Buffer): Section[] {
    if (!this.#begun) return [];
    const sections: Section[] = [];
    let rest = Buffer.concat([this.#begun, bytes]);
    while (rest.length >= LENGTH_END && rest[0] !== STUFFING) {
      const length = LENGTH_END + (rest.readUInt16BE(1) & 0x0fff);
      if (length > rest.length) break;
      sections.push(...this.#sectionIn(rest.subarray(0, length)));
      rest = rest.subarray(length);
    }
    this.#begun = rest.length === 0 || rest[0] === STUFFING ? undefined : rest;
    return sections;
  }

  #sectionIn(bytes: Buffer): [] | [Section] {
    if (bytes.length < HEADER_BYTES + CRC_BYTES) return [];
    const versionAndCurrent = bytes[5] as number;
    // A damaged one would send every reader elsewhere until the next.
    if ((versionAndCurrent & 1) === 0 || crc32(bytes) !== 0) return [];
    return [
      {
        tableId: bytes[0] as number,
        id: bytes.readUInt16BE(3),
        version: (versionAndCurrent >> 1) & 0x1f,
        number: bytes[6] as number,
        content: bytes.subarray(HEADER_BYTES, -CRC_BYTES),
        mark: this.#mark,
      },
    ];
  }
}
