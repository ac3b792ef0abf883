import { crc32 } from './crc.ts';
import { PACKET_BYTES, SYNC_BYTE } from './packet.ts';

/** A packet with a program association table of one program (ISO/IEC 13818-1, 2.4.4.3); its continuity counter is 0. */
export function associationPacket(program: number, mapPid: number): Buffer {
  const packet = Buffer.alloc(PACKET_BYTES, 0xff);
  // Payload only, a section begins in it, and that at once.
  packet.set([SYNC_BYTE, 0x40, 0x00, 0x10, 0x00]);
  const section = packet.subarray(5, 5 + 16);
  // Length 13, transport stream 1, version 0 and current, section 0 of 0.
  section.set([0x00, 0xb0, 13, 0x00, 0x01, 0xc1, 0x00, 0x00]);
  section.writeUInt16BE(program, 8);
  section.writeUInt16BE(0xe000 | mapPid, 10);
  section.writeUInt32BE(crc32(section.subarray(0, 12)), 12);
  return packet;
}
