import { HoldfastError } from 'holdfast';

/** What a device says in `X-HDHomeRun-Error`, by the number it starts with. */
export const DEVICE_CODES: Readonly<Record<number, string>> = {
  801: 'Unknown Channel',
  802: 'Unknown Transcode Profile',
  803: 'System Busy',
  804: 'Tuner In Use',
  805: 'All Tuners In Use',
  806: 'Tune Failed',
  807: 'No Video Data',
  808: 'DVR Failure',
  809: 'Playback Connection Limit',
  810: 'DVR Full',
  811: 'Content Protection Required',
};

/** Every error of this folder; `retryable` and `retryAfterMs` mean what they mean in holdfast. */
export abstract class HdhomerunError extends HoldfastError {}

/** Bytes that are no HDHomeRun packet. Whoever reads the network drops them and goes on. */
export class PacketError extends HdhomerunError {
  readonly code = 'HDHOMERUN_PACKET';
}

/** The device refused a variable over the control port; the message is the device's own. */
export class ControlError extends HdhomerunError {
  readonly code = 'HDHOMERUN_CONTROL';
  readonly variable: string;

  constructor(variable: string, message: string) {
    super(`${variable}: ${message}`);
    this.variable = variable;
  }
}

/** No answer: refused, no route, reset, or silent for too long. */
export class DeviceUnreachableError extends HdhomerunError {
  readonly code = 'HDHOMERUN_DEVICE_UNREACHABLE';
  override readonly retryable = true;

  constructor(where: string, why: string, cause?: unknown) {
    super(`HDHomeRun at ${where} can't be reached: ${why}; check its address, power and network`, { cause });
  }
}

/** An answer that makes no sense: not JSON, fields missing, too large, an empty lineup. */
export class DeviceResponseError extends HdhomerunError {
  readonly code = 'HDHOMERUN_DEVICE_RESPONSE';
  override readonly retryable = true;

  constructor(where: string, why: string, cause?: unknown) {
    super(`the answer of ${where} can't be used: ${why}`, { cause });
  }
}

/** What a device refused a stream with. */
export interface Refusal {
  readonly url: string;
  readonly status: number;
  readonly deviceCode?: number | undefined;
  readonly detail?: string | undefined;
  readonly retryAfterMs?: number | undefined;
}

/** The device answered, and the answer is no. Subclasses exist for what callers treat differently. */
export class DeviceError extends HdhomerunError {
  readonly code: string = 'HDHOMERUN_DEVICE';
  override readonly retryable: boolean;
  declare readonly retryAfterMs?: number;
  /** The HTTP status. */
  readonly status: number;
  /** The number in `X-HDHomeRun-Error`, see {@link DEVICE_CODES}. */
  readonly deviceCode?: number;

  constructor(refusal: Refusal) {
    super(`${refusal.url} answered ${refusal.status}${refusal.detail ? `: ${refusal.detail}` : ''}`);
    this.status = refusal.status;
    this.retryable = refusal.status >= 500 || refusal.status === 429;
    if (refusal.deviceCode !== undefined) this.deviceCode = refusal.deviceCode;
    if (refusal.retryAfterMs !== undefined) this.retryAfterMs = refusal.retryAfterMs;
  }
}

/** 801: not in the lineup of the device. */
export class UnknownChannelError extends DeviceError {
  override readonly code = 'HDHOMERUN_UNKNOWN_CHANNEL';
}

/** 803. */
export class SystemBusyError extends DeviceError {
  override readonly code = 'HDHOMERUN_SYSTEM_BUSY';
}

/** 804: the tuner that was asked for by number. */
export class TunerInUseError extends DeviceError {
  override readonly code = 'HDHOMERUN_TUNER_IN_USE';
}

/** 805. */
export class AllTunersInUseError extends DeviceError {
  override readonly code = 'HDHOMERUN_ALL_TUNERS_IN_USE';
}

/** 806: no signal, or a fault of the tuner. */
export class TuneFailedError extends DeviceError {
  override readonly code = 'HDHOMERUN_TUNE_FAILED';
}

/** 807: tuned, but nothing came. */
export class NoVideoDataError extends DeviceError {
  override readonly code = 'HDHOMERUN_NO_VIDEO_DATA';
}

/** 811: encrypted; this kind of client will never get it. */
export class ContentProtectedError extends DeviceError {
  override readonly code = 'HDHOMERUN_CONTENT_PROTECTED';
}

const BY_DEVICE_CODE: Readonly<Record<number, new (refusal: Refusal) => DeviceError>> = {
  801: UnknownChannelError,
  803: SystemBusyError,
  804: TunerInUseError,
  805: AllTunersInUseError,
  806: TuneFailedError,
  807: NoVideoDataError,
  811: ContentProtectedError,
};

/** The error for a refusal: by its device code; without one by its status, since not every emulator sends codes. */
export function deviceErrorOf(refusal: Refusal): DeviceError {
  const byStatus = refusal.status === 404 ? UnknownChannelError : DeviceError;
  return new (BY_DEVICE_CODE[refusal.deviceCode ?? 0] ?? byStatus)(refusal);
}

/** ffmpeg or ffprobe is missing or can't be run; the message says how to get one. */
export class ProgramNotFoundError extends HdhomerunError {
  readonly code = 'HDHOMERUN_PROGRAM_NOT_FOUND';
}
