export { mpegTsJoinPoint } from './join-point.ts';
export { PACKET_BYTES } from './packet.ts';
