import type { GetsetReply, GetsetRequest } from './messages.ts';
import type { SimulatedDevice } from './simulated-device.ts';
import type { TunerHolder } from './tuner-bank.ts';

/**
 * The variables of the control port. Tuners can be read and locked; tuning over this port is not simulated, since every
 * current client streams by HTTP.
 */

const HELP = `Supported configuration options:
/lineup/scan
/sys/features
/sys/hwmodel
/sys/model
/sys/version
/tuner<n>/channel
/tuner<n>/lockkey
/tuner<n>/status
/tuner<n>/target
/tuner<n>/vchannel
`;

const IDLE_STATUS = 'ch=none lock=none ss=0 snq=0 seq=0 bps=0 pps=0';
const UNKNOWN = { error: 'ERROR: unknown getset variable' };

export function answerGetset(device: SimulatedDevice, request: GetsetRequest, peer: string): GetsetReply {
  const [, tuner, variable] = /^\/tuner(\d+)\/([a-z]+)$/.exec(request.name) ?? [];
  if (tuner !== undefined && variable !== undefined) {
    return new TunerVariables(device, Number(tuner)).answer(variable, request, peer);
  }
  if (request.name === '/lineup/scan') return answerScan(device, request);
  const value = systemVariable(device, request.name);
  return value === undefined || request.value !== undefined ? UNKNOWN : { name: request.name, value };
}

function systemVariable(device: SimulatedDevice, name: string): string | undefined {
  switch (name) {
    case 'help':
      return HELP;
    case '/sys/model':
      return device.firmwareName;
    case '/sys/hwmodel':
      return device.modelNumber;
    case '/sys/version':
      return device.firmwareVersion;
    case '/sys/features':
      return 'channelmap: us-bcast us-cable\nmodulation: 8vsb qam256 qam64\nauto-modulation: auto auto6t auto6c\n';
    default:
      return undefined;
  }
}

function answerScan(device: SimulatedDevice, { name, value }: GetsetRequest): GetsetReply {
  if (value === 'start') device.startScan();
  else if (value === 'abort') device.abortScan();
  else if (value !== undefined) return { error: 'ERROR: invalid value' };
  const progress = device.scanProgress;
  return { name, value: progress === undefined ? 'state=complete' : `state=running progress=${progress}` };
}

class TunerVariables {
  readonly #device: SimulatedDevice;
  readonly #index: number;
  readonly #holder: TunerHolder | undefined;

  constructor(device: SimulatedDevice, index: number) {
    this.#device = device;
    this.#index = index;
    this.#holder = device.tuners.holderOf(index);
  }

  answer(variable: string, { name, value, lockKey }: GetsetRequest, peer: string): GetsetReply {
    const current = this.#index < this.#device.tuners.count ? this.#read(variable) : undefined;
    if (current === undefined) return UNKNOWN;
    if (value === undefined) return { name, value: current };
    if (variable !== 'lockkey') return { error: 'ERROR: not supported by the simulator' };
    const refused = this.#setLock({ value, lockKey }, peer);
    return refused ? { error: refused } : { name, value };
  }

  #read(variable: string): string | undefined {
    const channel = this.#device.channelByNumber(this.#holder?.channel);
    switch (variable) {
      case 'status':
        return channel
          ? `ch=8vsb:${this.#device.frequencyOf(channel)} lock=8vsb ss=98 snq=97 seq=100 bps=0 pps=0`
          : IDLE_STATUS;
      case 'channel':
        return channel ? `8vsb:${this.#device.frequencyOf(channel)}` : 'none';
      case 'vchannel':
        return channel?.number ?? 'none';
      case 'target':
        return channel && this.#holder ? `http://${this.#holder.address}` : 'none';
      case 'lockkey':
        return this.#holder?.address ?? 'none';
      default:
        return undefined;
    }
  }

  /** A key locks, `none` with that key unlocks, `force` takes a lock away from whoever has it. */
  #setLock({ value, lockKey }: { value: string; lockKey: number | undefined }, peer: string): string | undefined {
    const lock = this.#holder;
    const mayRelease = lock?.lockKey !== undefined && (lock.lockKey === lockKey || value === 'force');
    if (lock && !mayRelease) return `ERROR: resource locked by ${lock.address}`;
    if (lock) this.#device.tuners.release(this.#index, lock);
    if (value === 'none' || value === 'force') return undefined;
    if (!/^\d{1,10}$/.test(value)) return 'ERROR: invalid lockkey';
    this.#device.tuners.take({ address: peer, since: new Date(), lockKey: Number(value) }, this.#index);
    return undefined;
  }
}
