export { mpegTsJoinPoint } from './join-point.ts';
export { PACKET_BYTES, SYNC_BYTE } from './packet.ts';
export { type StreamLimits, StreamMonitor, type StreamTrouble } from './stream-monitor.ts';
