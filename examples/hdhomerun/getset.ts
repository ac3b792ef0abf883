import type { GetsetReply, GetsetRequest } from './messages.ts';

/** The variables of the control port, as every device has them. */

/** The variables of one tuner, as texts; all but `status` are `none` while it is idle. */
export interface TunerVariables {
  readonly status: string;
  readonly channel: string;
  readonly vchannel: string;
  readonly streaminfo: string;
  readonly target: string;
  readonly lockkey: string;
}

/** A device, as the control port shows it. */
export interface ControlledDevice {
  /** By name: `/sys/model`. They can't be set. */
  readonly variables: Readonly<Record<string, string>>;
  /** Undefined if there is no such tuner. */
  tuner(index: number): TunerVariables | undefined;
  /** Sets a variable of a tuner that exists; why not, if that was refused. */
  setTuner(index: number, variable: keyof TunerVariables, request: SetRequest): string | undefined;
  /** Starts or ends a scan; refused with what is returned. */
  scan(order: 'start' | 'abort'): string | undefined;
  /** Undefined when no scan runs. */
  readonly scanPercent: number | undefined;
}

export interface SetRequest {
  readonly value: string;
  readonly lockKey: number | undefined;
  /** The address that it came from. */
  readonly peer: string;
}

export const IDLE_TUNER: TunerVariables = {
  status: 'ch=none lock=none ss=0 snq=0 seq=0 bps=0 pps=0',
  ...{ channel: 'none', vchannel: 'none', streaminfo: 'none', target: 'none', lockkey: 'none' },
};

const UNKNOWN: GetsetReply = { error: 'ERROR: unknown getset variable' };
/** A packet holds no more of a value. */
const MAX_VALUE_BYTES = 1_200;

/** Answers as a real device does, unknown names included. */
export function answerGetset(device: ControlledDevice, request: GetsetRequest, peer: string): GetsetReply {
  const { name, value, lockKey } = request;
  if (name === 'help' && value === undefined) return { name, value: helpOf(device) };
  if (name === '/lineup/scan') return answerScan(device, request);
  const [, tuner, variable = ''] = /^\/tuner(\d{1,3})\/([a-z]+)$/.exec(name) ?? [];
  const known = tuner === undefined ? device.variables : device.tuner(Number(tuner));
  const current = known && Object.hasOwn(known, variable || name) ? known[(variable || name) as never] : undefined;
  if (current === undefined) return UNKNOWN;
  if (value === undefined) return { name, value: fitting(current) };
  if (tuner === undefined) return UNKNOWN;
  const set = { value, lockKey, peer };
  const refused = device.setTuner(Number(tuner), variable as keyof TunerVariables, set);
  return refused === undefined ? { name, value } : { error: refused };
}

function helpOf({ variables }: ControlledDevice): string {
  const tuner = Object.keys(IDLE_TUNER).map((variable) => `/tuner<n>/${variable}`);
  const names = ['/lineup/scan', ...Object.keys(variables), ...tuner].sort();
  return `Supported configuration options:\n${names.join('\n')}\n`;
}

function answerScan(device: ControlledDevice, { name, value }: GetsetRequest): GetsetReply {
  if (value !== undefined && value !== 'start' && value !== 'abort') return { error: 'ERROR: invalid value' };
  const refused = value && device.scan(value);
  if (refused) return { error: refused };
  const { scanPercent } = device;
  return { name, value: scanPercent === undefined ? 'state=complete' : `state=running progress=${scanPercent}` };
}

function fitting(value: string): string {
  const bytes = Buffer.from(value);
  return bytes.length <= MAX_VALUE_BYTES ? value : bytes.toString('utf8', 0, MAX_VALUE_BYTES).replace(/\ufffd$/, '');
}

/** Who has locked a tuner over the control port. */
export interface TunerLock {
  readonly address: string;
  readonly lockKey?: number | undefined;
}

export type LockChange =
  | { readonly refused: string }
  /** Undefined: nobody has it. */
  | { readonly lock: (TunerLock & { readonly lockKey: number }) | undefined };

/** What becomes of a lock: a key locks, `none` with that key unlocks, `force` takes a lock away from whoever has it. */
export function changeLock(lock: TunerLock | undefined, { value, lockKey, peer }: SetRequest): LockChange {
  const mayRelease = lock?.lockKey !== undefined && (lock.lockKey === lockKey || value === 'force');
  if (lock && !mayRelease) return { refused: `ERROR: resource locked by ${lock.address}` };
  if (value === 'none' || value === 'force') return { lock: undefined };
  if (!/^\d{1,10}$/.test(value)) return { refused: 'ERROR: invalid lockkey' };
  return { lock: { address: peer, lockKey: Number(value) } };
}
