import { DEVICE_CODES } from '../../hdhomerun/index.ts';
import type { Failure } from '../failure.ts';

/** What a player of HDHomeRuns is told: the status that a device uses, and its code. */
export interface Refusal extends Omit<Failure, 'status'> {
  readonly status: number;
}

/** By the code of the error; what is in none of these is told by its status. */
const BY_CODE: Readonly<Record<string, number>> = {
  HDHOMERUN_CONTENT_PROTECTED: 811,
  HDHOMERUN_NO_VIDEO_DATA: 807,
  HDHOMERUN_SYSTEM_BUSY: 803,
  HDHOMERUN_ALL_TUNERS_IN_USE: 805,
  HDHOMERUN_TUNER_IN_USE: 805,
  PUBLISHER_FULL: 803,
  HOLDFAST_ADMISSION: 803,
  HOLDFAST_CLOSED: 803,
};

/** 409: another process reads what a device would read with this tuner. */
const BY_STATUS: Readonly<Record<number, number>> = { 409: 805, 429: 809, 502: 806, 503: 803, 504: 807 };

/** A device has no other status for a channel that it has: 503, or 403 for what is protected. */
export function refusalOf(failure: Failure): Refusal {
  const told = /^\d{3}/.exec(failure.deviceError ?? '')?.[0];
  const code = BY_CODE[failure.code ?? ''] ?? (told ? Number(told) : (BY_STATUS[failure.status] ?? 806));
  return { ...failure, status: code === 811 ? 403 : 503, deviceError: `${code} ${DEVICE_CODES[code]}` };
}

export function refusal(status: number, code: number, detail: string): Refusal {
  const title = DEVICE_CODES[code] as string;
  return { status, title, detail, deviceError: `${code} ${title}` };
}
