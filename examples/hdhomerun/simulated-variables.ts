import { type ControlledDevice, changeLock, IDLE_TUNER, type SetRequest, type TunerVariables } from './getset.ts';
import type { SimulatedDevice } from './simulated-device.ts';
import type { TunerHolder } from './tuner-bank.ts';

/**
 * The variables of the simulated device. Tuners can be read and locked; tuning over the control port is not simulated,
 * since every current client streams by HTTP.
 */
export class SimulatedVariables implements ControlledDevice {
  readonly #device: SimulatedDevice;

  constructor(device: SimulatedDevice) {
    this.#device = device;
  }

  get variables(): Readonly<Record<string, string>> {
    return {
      '/sys/features':
        'channelmap: us-bcast us-cable\nmodulation: 8vsb qam256 qam64\nauto-modulation: auto auto6t auto6c\n',
      '/sys/hwmodel': this.#device.modelNumber,
      '/sys/model': this.#device.firmwareName,
      '/sys/version': this.#device.firmwareVersion,
    };
  }

  tuner(index: number): TunerVariables | undefined {
    const { tuners } = this.#device;
    if (index >= tuners.count) return undefined;
    const holder = tuners.holderOf(index);
    return holder ? this.#held(holder) : IDLE_TUNER;
  }

  #held(holder: TunerHolder): TunerVariables {
    const lockkey = holder.address;
    const channel = this.#device.channelByNumber(holder.channel);
    if (!channel) return { ...IDLE_TUNER, lockkey };
    const frequency = this.#device.frequencyOf(channel);
    return {
      status: `ch=8vsb:${frequency} lock=8vsb ss=98 snq=97 seq=100 bps=0 pps=0`,
      channel: `8vsb:${frequency}`,
      vchannel: channel.number,
      streaminfo: `1: ${channel.number} ${channel.name}\n`,
      target: `http://${holder.address}`,
      lockkey,
    };
  }

  setTuner(index: number, variable: keyof TunerVariables, request: SetRequest): string | undefined {
    if (variable !== 'lockkey') return 'ERROR: not supported by the simulator';
    const { tuners } = this.#device;
    const holder = tuners.holderOf(index);
    const change = changeLock(holder, request);
    if ('refused' in change) return change.refused;
    if (holder) tuners.release(index, holder);
    if (change.lock) tuners.take({ ...change.lock, since: new Date() }, index);
    return undefined;
  }

  scan(order: 'start' | 'abort'): undefined {
    if (order === 'start') this.#device.startScan();
    else this.#device.abortScan();
  }

  get scanPercent(): number | undefined {
    return this.#device.scanProgress;
  }
}
