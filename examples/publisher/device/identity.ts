import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { makeDeviceId } from '../../hdhomerun/index.ts';
import { StartError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { JsonFile } from '../state/json-file.ts';

/** Who this installation is to players, for as long as its state directory lives. */
export interface Identity {
  readonly deviceId: string;
  /** Real devices change theirs and the makers' guide service knows it; here it is a text that stays. */
  readonly deviceAuth: string;
}

const schema = z.object({ seed: z.string().regex(/^[0-9a-f]{32}$/, 'must be 32 hex digits') });

/**
 * The identity that the state directory has, or a new one. It is made by chance alone: hosts that were cloned, and
 * containers, have equal machine IDs and equal paths.
 *
 * @throws StartError if there is one that can't be read.
 */
export async function identityOf(stateDirectory: string, log: Logger): Promise<Identity> {
  const file = new JsonFile(join(stateDirectory, 'identity.json'), schema, log);
  const kept = keptIn(file);
  const { seed } = kept ?? { seed: randomBytes(16).toString('hex') };
  // Who sees the DeviceID may see it again after a restart: it is on the disk first.
  if (!kept) await file.write({ seed });
  return { deviceId: makeDeviceId(seed), deviceAuth: authOf(seed) };
}

/** Another DeviceID would take the device away from the players that know it. */
function keptIn(file: JsonFile<z.infer<typeof schema>>): z.infer<typeof schema> | undefined {
  try {
    return file.readStrictly();
  } catch (error) {
    const advice = 'it holds the DeviceID: make it readable for this user, or remove it for a new one';
    throw new StartError(`${(error as Error).message}; ${advice}`, { cause: error });
  }
}

function authOf(seed: string): string {
  return createHash('sha256').update(`auth ${seed}`).digest('base64url').slice(0, 24);
}
