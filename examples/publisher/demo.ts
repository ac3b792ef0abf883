import { HdhomerunSimulator } from '../hdhomerun/index.ts';
import type { Logger } from './log.ts';

/** A device with 2 tuners and 3 channels in this process, for those who have none at hand. */
export async function startDemo(ffmpeg: string, log: Logger): Promise<HdhomerunSimulator> {
  const onStreamFailure = (err: unknown) => log.warn({ err }, `simulated tuner: ${(err as Error).message}`);
  const simulator = await HdhomerunSimulator.start({ tuners: 2, ffmpeg, onStreamFailure });
  const { deviceId, url, channels } = simulator;
  log.info(`demo: simulated tuner ${deviceId} at ${url} with 2 tuners and ${channels.length} channels`);
  return simulator;
}
