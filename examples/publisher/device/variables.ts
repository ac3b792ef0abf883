import { type ControlledDevice, IDLE_TUNER, type SetRequest, type TunerVariables } from '../../hdhomerun/index.ts';
import { plainAddress } from '../http/viewers.ts';
import { type PublishedDevice, receptionOf } from './published-device.ts';
import type { VirtualTuner } from './virtual-tuners.ts';

const BY_HTTP = 'ERROR: not here: open /auto/v<number> by HTTP, which tunes, and close it, which frees the tuner';
/** Of an MPEG-TS packet in a datagram, as old players ask for them. */
const DATAGRAM_BITS = 7 * 188 * 8;

/** The variables of this publisher on the control port: they tell; only locks can be set. */
export class PublishedVariables implements ControlledDevice {
  readonly #device: PublishedDevice;

  constructor(device: PublishedDevice) {
    this.#device = device;
  }

  get variables(): Readonly<Record<string, string>> {
    const { firmwareName, firmwareVersion, modelNumber } = this.#device.served;
    return {
      '/sys/features': 'channelmap: us-bcast us-cable\nmodulation: auto\nauto-modulation: auto\n',
      '/sys/hwmodel': modelNumber,
      '/sys/model': firmwareName,
      '/sys/version': firmwareVersion,
    };
  }

  tuner(index: number): TunerVariables | undefined {
    const tuner = this.#device.tuners.states[index];
    return tuner && { ...this.#tuned(tuner), lockkey: tuner.lock?.address ?? 'none' };
  }

  setTuner(index: number, variable: keyof TunerVariables, request: SetRequest): string | undefined {
    if (variable !== 'lockkey') return BY_HTTP;
    return this.#device.tuners.lock(index, { ...request, peer: plainAddress(request.peer) });
  }

  scan(order: 'start' | 'abort'): undefined {
    if (order === 'start') this.#device.scanner.start();
    else this.#device.scanner.abort();
  }

  get scanPercent(): number | undefined {
    return this.#device.scanner.state?.progressPercent;
  }

  #tuned({ channel, address, rateBps = 0 }: VirtualTuner): TunerVariables {
    if (!channel) return IDLE_TUNER;
    const number = this.#device.lineup.numberOf(channel) ?? channel.entry.id;
    const percent = receptionOf(channel);
    const lock = percent > 0 ? 'auto' : 'none';
    const packets = Math.round(rateBps / DATAGRAM_BITS);
    return {
      status: `ch=auto:${number} lock=${lock} ss=${percent} snq=${percent} seq=${percent} bps=${rateBps} pps=${packets}`,
      channel: `auto:${number}`,
      vchannel: number,
      streaminfo: `1: ${number} ${channel.entry.name}\n`,
      target: address === undefined ? 'none' : `http://${address.includes(':') ? `[${address}]` : address}`,
      lockkey: 'none',
    };
  }
}
