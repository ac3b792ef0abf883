import { PACKET_BYTES, pidOf } from './recording-packet.ts';

const PAT_PID = 0;
const SDT_PID = 0x11;
/** Of a packet with a table: its header and the pointer to the first section. */
const SECTION_AT = 5;
const CRC_BYTES = 4;
/** As many PIDs as a program may have before those of the next begin. */
const PIDS_PER_PROGRAM = 0x10;
const MAX_NAME_BYTES = 80;

/** The tables of a recording with one program. */
export interface Tables {
  readonly clockPid: number;
  readonly mapPid: number;
  /** The packet that has the map. */
  readonly map: Buffer;
}

/** Which program a stream makes of a recording. */
export interface ProgramName {
  /** From 0; each has PIDs and a program number of its own. */
  readonly index: number;
  readonly name: string;
}

/** @throws RangeError if the bytes have no program, or one whose map takes more than one packet. */
export function readTables(bytes: Buffer): Tables {
  const association = findPacket(bytes, PAT_PID);
  const mapPid = association && association.readUInt16BE(SECTION_AT + 10) & 0x1fff;
  const map = mapPid === undefined ? undefined : findPacket(bytes, mapPid);
  if (mapPid === undefined || !map) throw new RangeError('recording must have a program (PAT and PMT)');
  if (sectionEnd(map) > PACKET_BYTES) throw new RangeError('recording must have a map (PMT) of one packet');
  return { mapPid, map, clockPid: map.readUInt16BE(SECTION_AT + 8) & 0x1fff };
}

function findPacket(bytes: Buffer, pid: number): Buffer | undefined {
  for (let at = 0; at < bytes.length; at += PACKET_BYTES) {
    const isStart = ((bytes[at + 1] as number) & 0x40) !== 0;
    if (isStart && pidOf(bytes, at) === pid) return bytes.subarray(at, at + PACKET_BYTES);
  }
  return undefined;
}

/** The PID of a stream in the program that is made of it; those of tables that all streams have stay. */
export function pidIn({ index }: ProgramName, pid: number): number {
  return pid < 0x20 ? pid : 0x20 + ((pid - 0x20 + index * PIDS_PER_PROGRAM) % (0x1fff - 0x20));
}

/** The packets of the tables of a program, by the PIDs of those that they replace. */
export function tablesOf({ mapPid, map }: Tables, program: ProgramName): ReadonlyMap<number, Buffer> {
  const number = program.index + 1;
  return new Map([
    [
      PAT_PID,
      tablePacket(PAT_PID, [0x00, 0, 0, 0, 1, 0xc1, 0, 0, ...u16(number), ...u16(0xe000 | pidIn(program, mapPid))]),
    ],
    [mapPid, mapPacket(map, program, pidIn(program, mapPid))],
    [SDT_PID, tablePacket(SDT_PID, description(number, program.name))],
  ]);
}

/** The map of the recording with the PIDs of the program. */
function mapPacket(recorded: Buffer, program: ProgramName, pid: number): Buffer {
  const map = Buffer.from(recorded.subarray(SECTION_AT, sectionEnd(recorded) - CRC_BYTES));
  const movePid = (at: number) => map.writeUInt16BE(0xe000 | pidIn(program, map.readUInt16BE(at) & 0x1fff), at);
  map.writeUInt16BE(program.index + 1, 3);
  movePid(8);
  for (let at = 12 + (map.readUInt16BE(10) & 0xfff); at < map.length; at += 5 + (map.readUInt16BE(at + 3) & 0xfff)) {
    movePid(at + 1);
  }
  return tablePacket(pid, [...map]);
}

function description(number: number, name: string): number[] {
  const [provider, service] = ['holdfast', name].map((text) => [...Buffer.from(text).subarray(0, MAX_NAME_BYTES)]);
  const descriptor = [0x01, ...counted(provider as number[]), ...counted(service as number[])];
  const loop = [0x48, ...counted(descriptor)];
  return [0x42, 0, 0, 0, 1, 0xc1, 0, 0, 0xff, 0x01, 0xff, ...u16(number), 0xfc, ...u16(0x8000 | loop.length), ...loop];
}

/** A packet with one section, whose length and checksum are filled in. */
function tablePacket(pid: number, content: readonly number[]): Buffer {
  const packet = Buffer.alloc(PACKET_BYTES, 0xff);
  packet.set([0x47, ...u16(0x4000 | pid), 0x10, 0]);
  packet.set(content, SECTION_AT);
  packet.writeUInt16BE(0xb000 | (content.length - 3 + CRC_BYTES), SECTION_AT + 1);
  const end = SECTION_AT + content.length;
  packet.writeUInt32BE(crc32Mpeg(packet.subarray(SECTION_AT, end)), end);
  return packet;
}

function sectionEnd(packet: Buffer): number {
  return SECTION_AT + 3 + (packet.readUInt16BE(SECTION_AT + 1) & 0xfff);
}

const u16 = (value: number): [number, number] => [value >> 8, value & 0xff];
const counted = (bytes: readonly number[]): number[] => [bytes.length, ...bytes];

/** ISO/IEC 13818-1, annex A; not the mirrored one of zlib. */
function crc32Mpeg(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  }
  return crc >>> 0;
}
