/** How an owner ends: what it is told to do, then the signal it gets. */
export interface Ending {
  readonly does?: 'normal end' | 'process.exit()' | 'throw' | 'block' | 'abort';
  readonly signal?: NodeJS.Signals;
}

export const endings: Readonly<Record<string, Ending>> = {
  'normal end': { does: 'normal end' },
  'process.exit()': { does: 'process.exit()' },
  throw: { does: 'throw' },
  SIGTERM: { signal: 'SIGTERM' },
  SIGINT: { signal: 'SIGINT' },
  SIGHUP: { signal: 'SIGHUP' },
  SIGKILL: { signal: 'SIGKILL' },
  SIGABRT: { signal: 'SIGABRT' },
  'blocked + SIGTERM': { does: 'block', signal: 'SIGTERM' },
  'blocked + SIGKILL': { does: 'block', signal: 'SIGKILL' },
  // Its owner lives on.
  abort: { does: 'abort' },
};
