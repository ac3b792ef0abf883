// crowd-feed.ts <bytes a second>: the source of a crowd, at a pace, on stdout. What it writes tells when it was due, so that a hub which
// keeps it from writing does not look better for that.
import { setTimeout as sleep } from 'node:timers/promises';
import { CHUNK_BYTES, chunkAt, hostMs } from './crowd-source.ts';

const bytesPerSecond = Number(process.argv[2]);
const begunMs = hostMs();
for (let at = 0; ; at += CHUNK_BYTES) {
  const dueMs = begunMs + (at / bytesPerSecond) * 1_000;
  while (hostMs() < dueMs) await sleep(1);
  process.stdout.write(chunkAt(at, dueMs));
}
