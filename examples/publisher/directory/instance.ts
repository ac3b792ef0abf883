import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../log.ts';
import { JsonFile } from '../state/json-file.ts';

const schema = z.object({ id: z.uuid() });

/** What tells this publisher from all others, over a restart: those who relay know by it what has come through here. */
export function instanceId(dir: string, log: Logger): string {
  const file = new JsonFile<z.infer<typeof schema>>(join(dir, 'instance.json'), schema, log);
  const kept = file.read();
  if (kept) return kept.id;
  const id = randomUUID();
  void file.write({ id });
  return id;
}
