import type { HdhomerunSimulator, StreamFault } from '../../examples/hdhomerun/index.ts';
import { childrenOf } from '../support/processes.ts';
import { pause } from './audience.ts';

/** Something that happens to a channel of the simulated tuner, or to the ffmpeg that reads it. */
export interface Trouble {
  readonly name: string;
  /** Returns whether it did; what follows from it goes on until the soak is over. */
  happen(channel: string): boolean;
}

const STREAM_FAULTS: readonly StreamFault[] = ['cut', 'stall', 'end', 'garbage'];

/** @param owner pid of the publisher */
export function troubles(simulator: HdhomerunSimulator, owner: number, signal: AbortSignal): Trouble[] {
  const signalFfmpeg = (name: NodeJS.Signals, channel: string) => {
    const own = childrenOf(owner).find(({ command }) => command.includes('ffmpeg') && command.includes(`v${channel}`));
    if (own) process.kill(own.pid, name);
    return own?.pid;
  };
  return [
    ...STREAM_FAULTS.map((fault) => ({
      name: fault,
      happen(channel: string) {
        simulator.misbehave({ fault, channel, times: 1 });
        return true;
      },
    })),
    {
      name: 'tuner busy',
      happen(channel) {
        simulator.misbehave({ fault: 'busy', channel, times: 1 });
        simulator.misbehave({ fault: 'cut', channel, times: 1 });
        return true;
      },
    },
    { name: 'SIGKILL of ffmpeg', happen: (channel) => signalFfmpeg('SIGKILL', channel) !== undefined },
    {
      name: 'SIGSTOP of ffmpeg',
      happen(channel) {
        const pid = signalFfmpeg('SIGSTOP', channel);
        if (pid !== undefined) pause(1_000 + Math.random() * 14_000, signal).then(() => goOn(pid));
        return pid !== undefined;
      },
    },
  ];
}

function goOn(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // it was ended as one that stalls
  }
}
