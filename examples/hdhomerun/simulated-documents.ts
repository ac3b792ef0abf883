import type { Scan, ServedChannel, ServedDevice, ServedTuner, Tuned } from './device-documents.ts';
import type { SimulatedChannel, SimulatedDevice } from './simulated-device.ts';
import type { TunerState } from './tuner-bank.ts';

/** What the documents of the simulated device say. */

export function servedDevice(device: SimulatedDevice): ServedDevice {
  const { friendlyName, modelNumber, firmwareName, firmwareVersion, deviceId, deviceAuth, tuners } = device;
  return { friendlyName, modelNumber, firmwareName, firmwareVersion, deviceId, deviceAuth, tunerCount: tuners.count };
}

/** @param streamOrigin where its streams are, as who asks reaches them */
export function servedChannels(device: SimulatedDevice, streamOrigin: string): ServedChannel[] {
  return device.channels.map((channel) => ({
    ...channel,
    videoCodec: 'H264',
    audioCodec: 'AAC',
    url: `${streamOrigin}/auto/v${channel.number}`,
  }));
}

export function scanOf(device: SimulatedDevice): Scan | undefined {
  const progressPercent = device.scanProgress;
  if (progressPercent === undefined) return undefined;
  return { progressPercent, found: Math.floor((device.channels.length * progressPercent) / 100) };
}

export function servedTuner(device: SimulatedDevice, { holder }: TunerState): ServedTuner {
  const channel = device.channelByNumber(holder?.channel);
  return { targetIp: holder?.address, tuned: channel && tunedTo(device, channel) };
}

function tunedTo(device: SimulatedDevice, channel: SimulatedChannel): Tuned {
  return {
    number: channel.number,
    name: channel.name,
    frequencyHz: device.frequencyOf(channel),
    strengthPercent: 98,
    qualityPercent: 97,
    symbolQualityPercent: 100,
  };
}
