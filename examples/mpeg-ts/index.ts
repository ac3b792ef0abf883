export { associationPacket } from './association.ts';
export { beginsGroup, mpegTsJoinPoint } from './join-point.ts';
export { isInSync, PACKET_BYTES, type Packet, packetAt, SYNC_BYTE } from './packet.ts';
export { PacketReader } from './packet-reader.ts';
export { StreamMonitor } from './stream-monitor.ts';
export { type ElementaryStream, leads, type Program, ProgramTables } from './tables.ts';
export { TICKS_PER_SECOND, ticksBetween, timestampsOf } from './timestamps.ts';
