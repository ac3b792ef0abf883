import { muxArguments } from './encoder-arguments.ts';
import { type EncodedProfile, RECIPES } from './profiles.ts';

/** What encodes the pictures: the processor, or a device with its place in the file system if it needs one. */
export type VideoEncoder =
  | { readonly kind: 'software' | 'nvenc' | 'v4l2m2m' }
  | { readonly kind: 'vaapi' | 'qsv'; readonly device: string };

export interface RenditionInput {
  readonly profile: EncodedProfile;
  /** For the service name in the stream, which players show. */
  readonly name: string;
  readonly deinterlace: boolean;
  readonly encoder: VideoEncoder;
  /** Where its timeline begins: one that follows another goes on where that was. */
  readonly beginSeconds: number;
}

/** A source that jumps by more than this has begun anew; what is encoded goes on without the jump. */
const JUMP_SECONDS = 1;
const SOUND = ['-ac', '2', '-ar', '48000'];

/**
 * Arguments of ffmpeg that encode the MPEG-TS on its stdin for a profile. The name of the channel is the only text in them
 * that comes from outside, and one element of its own; filters are made of constants and numbers.
 */
export function renditionArguments(input: RenditionInput): string[] {
  const { profile, name, encoder, beginSeconds } = input;
  const { video, audio } = RECIPES[profile];
  return [
    ...['-hide_banner', '-loglevel', 'warning', '-dts_delta_threshold', String(JUMP_SECONDS)],
    ...(video ? deviceArguments(encoder) : []),
    ...[
      '-fflags',
      '+nobuffer+genpts+discardcorrupt',
      '-f',
      'mpegts',
      '-scan_all_pmts',
      '0',
      '-merge_pmt_versions',
      '1',
    ],
    ...['-probesize', '2000000', '-analyzeduration', '1000000', '-i', 'pipe:0'],
    ...(video
      ? ['-map', '0:v:0?', '-vf', filtersOf(video.height, input), ...videoArguments(encoder, video.kilobits)]
      : []),
    ...['-map', '0:a:0?', '-c:a', 'aac', '-b:a', `${audio.kilobits}k`, ...SOUND],
    ...['-output_ts_offset', beginSeconds.toFixed(3), ...muxArguments(name)],
  ];
}

/** One that ends at once if the encoder works: two pictures of nothing, for nobody. */
export function trialArguments(encoder: VideoEncoder): string[] {
  return [
    ...['-nostdin', '-hide_banner', '-loglevel', 'error', ...deviceArguments(encoder)],
    ...['-f', 'lavfi', '-i', 'color=black:size=640x360:rate=25', '-vf', uploadOf(encoder)],
    ...[...videoArguments(encoder, 600), '-frames:v', '2', '-f', 'null', '-'],
  ];
}

/** Deinterlaced before it is scaled, or the lines of two fields are mixed; never made larger; both sides even. */
function filtersOf(height: number, { deinterlace, encoder }: RenditionInput): string {
  const weave = deinterlace ? ['bwdif=mode=send_frame:parity=auto:deint=interlaced'] : [];
  const scale = `scale=w=-2:h='trunc(min(${height},ih)/2)*2'`;
  return [...weave, scale, uploadOf(encoder)].join(',');
}

/** Browsers play no other kind of pictures than yuv420p; nv12 is the same in another order. */
function uploadOf({ kind }: VideoEncoder): string {
  if (kind === 'vaapi') return 'format=nv12,hwupload';
  if (kind === 'qsv') return 'format=nv12,hwupload=extra_hw_frames=64';
  return 'format=yuv420p';
}

function deviceArguments(encoder: VideoEncoder): string[] {
  if (!('device' in encoder)) return [];
  const { kind, device } = encoder;
  const value = kind === 'qsv' ? `qsv=hw,child_device=${device}` : `vaapi=hw:${device}`;
  return ['-init_hw_device', value, '-filter_hw_device', 'hw'];
}

/** Of each encoder what makes it hold back as little as it can. */
const ENCODERS: Readonly<Record<VideoEncoder['kind'], readonly string[]>> = {
  software: ['libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-profile:v', 'high'],
  vaapi: ['h264_vaapi', '-profile:v', 'high', '-bf', '0', '-async_depth', '1'],
  qsv: ['h264_qsv', '-preset', 'veryfast', '-bf', '0', '-async_depth', '1', '-forced_idr', '1'],
  nvenc: ['h264_nvenc', '-preset', 'p4', '-tune', 'll', '-bf', '0', '-forced-idr', '1'],
  v4l2m2m: ['h264_v4l2m2m', '-bf', '0'],
};

/** With a key frame in every second, so that one who comes sees a picture soon, and segments can be cut. */
function videoArguments({ kind }: VideoEncoder, kilobits: number): string[] {
  const rate = ['-b:v', `${kilobits}k`, '-maxrate', `${kilobits}k`, '-bufsize', `${kilobits}k`];
  const keyFrames = 'expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+1))';
  return ['-c:v', ...ENCODERS[kind], ...rate, '-force_key_frames', keyFrames];
}
