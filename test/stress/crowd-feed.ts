// crowd-feed.ts <bytes a second>: the source of a crowd, at a pace, on stdout. What it writes tells when it was due, so that a hub which
// keeps it from writing does not look better for that.
import { setTimeout as sleep } from 'node:timers/promises';
import { hostNow } from '../../src/internal/time.ts';
import { CHUNK_BYTES, chunkAt } from './crowd-source.ts';

const bytesPerSecond = Number(process.argv[2]);
const begunMs = hostNow();
for (let at = 0; ; at += CHUNK_BYTES) {
  const dueMs = begunMs + (at / bytesPerSecond) * 1_000;
  while (hostNow() < dueMs) await sleep(1);
  process.stdout.write(chunkAt(at, dueMs));
}
