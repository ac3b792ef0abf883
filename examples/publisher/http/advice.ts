import type { Failure } from '../failure.ts';

/** By the error's code, for those where it tells more than the status does. */
const BY_CODE: Readonly<Record<string, string>> = {
  HOLDFAST_LOCK_DIRECTORY: 'Give the publisher write access to the directory, or choose another with --lock-dir.',
  PUBLISHER_FULL: 'Stop a channel that is not needed, or raise --max-processes.',
};

const BY_STATUS: Readonly<Record<Failure['status'], string>> = {
  409: 'Watch it where it is read, or stop the process that holds it; the lock below names it.',
  429: 'Raise the limit that is named, or wait until somebody leaves.',
  502: 'Open the source with ffprobe from this host; check its address, and that the device has reception.',
  503: 'Wait for a tuner, or stop what else uses one; the tuners are listed on this page.',
  504: 'The source answers too slowly: check it with ffprobe, or raise --start-timeout-ms.',
  508: 'Give one of the publishers another source.',
};

/** What an operator can do about a failure. */
export function adviceFor({ status, code }: Failure): string {
  return BY_CODE[code ?? ''] ?? BY_STATUS[status];
}
