import { DEVICE_CODES } from '../../hdhomerun/index.ts';
import type { Failure } from '../failure.ts';

/** What a player of HDHomeRuns is told: the status that a device uses, and its code. */
export interface Refusal extends Omit<Failure, 'status'> {
  readonly status: number;
}

/** What says of this publisher, by the code of the error. */
const BY_CODE: Readonly<Record<string, number>> = {
  PUBLISHER_FULL: 803,
  HOLDFAST_ADMISSION: 803,
  HOLDFAST_CLOSED: 803,
};
/** What a device behind it says of itself. That it lacks the channel, or that very tuner, is no matter of who asks here. */
const BY_DEVICE: Readonly<Record<number, number>> = {
  803: 803,
  804: 805,
  805: 805,
  806: 806,
  807: 807,
  809: 809,
  811: 811,
};
/** 409: another process reads what a device would read with this tuner. */
const BY_STATUS: Readonly<Record<number, number>> = { 409: 805, 429: 809, 502: 806, 503: 803, 504: 807 };

/** The publisher that relays a channel to itself has to know it. */
const IN_A_CIRCLE = 508;

/** A device has no other status for a channel that it has: 503, or 403 for what is protected. */
export function refusalOf(failure: Failure): Refusal {
  const { code = '', deviceError, status } = failure;
  const deviceCode = BY_CODE[code] ?? BY_DEVICE[Number.parseInt(deviceError ?? '', 10)] ?? BY_STATUS[status] ?? 806;
  return {
    ...failure,
    status: status === IN_A_CIRCLE ? status : deviceCode === 811 ? 403 : 503,
    deviceError: `${deviceCode} ${DEVICE_CODES[deviceCode]}`,
  };
}

export function refusal(status: number, code: number, detail: string): Refusal {
  const title = DEVICE_CODES[code] as string;
  return { status, title, detail, deviceError: `${code} ${title}` };
}
