import { Faults } from './faults.ts';
import { TunerBank } from './tuner-bank.ts';

export interface SimulatedChannel {
  /** `5.1` */
  readonly number: string;
  readonly name: string;
  /** In the lineup, but copy protected: opening it is refused with 811. */
  readonly drm?: boolean | undefined;
  readonly hd?: boolean | undefined;
  readonly favorite?: boolean | undefined;
  /** @default made from the position in the lineup */
  readonly frequencyHz?: number | undefined;
}

export const DEFAULT_CHANNELS: readonly SimulatedChannel[] = [
  { number: '5.1', name: 'Harbour News', favorite: true },
  { number: '7.1', name: 'Granite Sport' },
  { number: '9.1', name: 'Evening Film' },
];

const FIRST_FREQUENCY_HZ = 473_000_000;
const CHANNEL_SPACING_HZ = 6_000_000;
const SCAN_MS = 1000;

/** What the device is, apart from how it is asked: its identity, lineup, tuners and faults. */
export class SimulatedDevice {
  /** Known once the ports are, since the default is made from them. */
  deviceId: string;
  readonly channels: readonly SimulatedChannel[];
  readonly tuners: TunerBank;
  readonly faults: Faults = new Faults();
  readonly friendlyName = 'holdfast simulated tuner';
  readonly modelNumber = 'HDHR4-2US';
  readonly firmwareName = 'hdhomerun4_atsc';
  readonly firmwareVersion = '20250506';
  readonly deviceAuth = 'simulated';
  #scanStartedMs = Number.NEGATIVE_INFINITY;

  constructor(deviceId: string, channels: readonly SimulatedChannel[], tunerCount: number) {
    this.deviceId = deviceId;
    this.channels = channels;
    this.tuners = new TunerBank(tunerCount);
  }

  /** By virtual number, `v5.1`, or by frequency and program, `ch473000000-1`. */
  findChannel(name: string): SimulatedChannel | undefined {
    const [, frequency, program] = /^ch(\d+)-(\d+)$/.exec(name) ?? [];
    return this.channels.find((channel) =>
      frequency === undefined
        ? name === `v${channel.number}`
        : this.frequencyOf(channel) === Number(frequency) && program === '1',
    );
  }

  channelByNumber(number: string | undefined): SimulatedChannel | undefined {
    return this.channels.find((channel) => channel.number === number);
  }

  frequencyOf(channel: SimulatedChannel): number {
    return channel.frequencyHz ?? FIRST_FREQUENCY_HZ + this.channels.indexOf(channel) * CHANNEL_SPACING_HZ;
  }

  /** A tone per channel: thirds upward from A4, so that they are told apart by ear. */
  toneOf(channel: SimulatedChannel): number {
    return Math.round(440 * 2 ** ((this.channels.indexOf(channel) % 8) / 3));
  }

  startScan(): void {
    this.#scanStartedMs = performance.now();
  }

  abortScan(): void {
    this.#scanStartedMs = Number.NEGATIVE_INFINITY;
  }

  /** Per cent; `undefined` when no scan runs. */
  get scanProgress(): number | undefined {
    const elapsedMs = performance.now() - this.#scanStartedMs;
    return elapsedMs < SCAN_MS ? Math.floor((elapsedMs / SCAN_MS) * 100) : undefined;
  }
}
