import { randomBytes } from 'node:crypto';

/** Seven packets of MPEG-TS, as they are sent over UDP. */
export const CHUNK_BYTES = 1_316;
const HEAD_BYTES = 16;

/** The same for all processes of a crowd. */
const noise = process.env.HOLDFAST_TEST_NOISE ?? randomBytes(CHUNK_BYTES - HEAD_BYTES).toString('base64');
const rest = Buffer.from(noise, 'base64');

/** What a process has to be given so that it sees the same source. */
export const environment: NodeJS.ProcessEnv = { ...process.env, HOLDFAST_TEST_NOISE: noise };

/** A chunk that tells where in the source it begins, and when it was due. */
export function chunkAt(position: number, dueMs: number): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeDoubleBE(position);
  head.writeDoubleBE(dueMs, 8);
  return Buffer.concat([head, rest]);
}

export function lookAt(chunk: Buffer): {
  readonly position: number;
  readonly dueMs: number;
  readonly isWhole: boolean;
} {
  const isWhole = chunk.subarray(HEAD_BYTES).equals(rest);
  return { position: chunk.readDoubleBE(0), dueMs: chunk.readDoubleBE(8), isWhole };
}
