import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../log.ts';
import { JsonFile } from '../state/json-file.ts';

const schema = z.object({ id: z.uuid() });

export interface Instance {
  readonly id: string;
  /** Resolves when it is kept. */
  readonly settled: Promise<void>;
}

/** What tells this publisher from all others, over a restart: those who relay know by it what has come through here. */
export function instanceOf(dir: string, log: Logger): Instance {
  const file = new JsonFile<z.infer<typeof schema>>(join(dir, 'instance.json'), schema, log);
  const kept = file.read();
  const id = kept?.id ?? randomUUID();
  return { id, settled: kept ? Promise.resolve() : file.write({ id }) };
}
