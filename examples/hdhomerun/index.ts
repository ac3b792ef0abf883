/** The HDHomeRun protocol: a client for devices, what being one takes, and a device to test against. */
export { type ControlOptions, ControlServer, type ControlServerOptions, getVariable, setVariable } from './control.ts';
export {
  type DeviceCallOptions,
  DeviceClient,
  type DeviceStream,
  type OpenStreamOptions,
  type StreamUrlOptions,
  streamUrl,
} from './device-client.ts';
export {
  deviceUuid,
  deviceXml,
  discoverDocument,
  lineupDocument,
  lineupM3u,
  lineupStatusDocument,
  lineupXml,
  MEDIA_SERVER,
  type Scan,
  type ServedChannel,
  type ServedDevice,
  type ServedTuner,
  tunerDocument,
} from './device-documents.ts';
export { refusalOf } from './device-http.ts';
export { correctedDeviceId, hdhomerunSource, isValidDeviceId, makeDeviceId } from './device-id.ts';
export { DISCOVERY_PORT, type DiscoveredDevice, type DiscoverOptions, discover } from './discovery.ts';
export { DiscoveryResponder, type ResponderOptions } from './discovery-responder.ts';
export { type DeviceDescription, isFreeTuner, type LineupChannel, type TunerStatus } from './documents.ts';
export {
  AllTunersInUseError,
  ContentProtectedError,
  ControlError,
  DEVICE_CODES,
  DeviceError,
  DeviceResponseError,
  DeviceUnreachableError,
  HdhomerunError,
  NoVideoDataError,
  PacketError,
  ProgramNotFoundError,
  SystemBusyError,
  TuneFailedError,
  TunerInUseError,
  UnknownChannelError,
} from './errors.ts';
export type { DocumentFault, Fault, Misbehaviour, OpeningFault, StreamFault } from './faults.ts';
export { type FindProgramOptions, findFfmpeg, findFfprobe } from './ffmpeg.ts';
export {
  answerGetset,
  type ControlledDevice,
  changeLock,
  IDLE_TUNER,
  type SetRequest,
  type TunerLock,
  type TunerVariables,
} from './getset.ts';
export { localAddressTowards } from './local-address.ts';
export { makeRecording, type RecordingOptions } from './make-recording.ts';
export { type DiscoverReply, TUNER_DEVICE } from './messages.ts';
export { broadcastsFor, localNetworks } from './networks.ts';
export { Recording } from './recording.ts';
export { RecordingLoop } from './recording-loop.ts';
export { DEFAULT_CHANNELS, type SimulatedChannel } from './simulated-device.ts';
export { HdhomerunSimulator, type SimulatorOptions } from './simulator.ts';
export { SSDP_PORT, type SsdpOptions, SsdpResponder } from './ssdp.ts';
export type { TunerHolder, TunerState } from './tuner-bank.ts';
