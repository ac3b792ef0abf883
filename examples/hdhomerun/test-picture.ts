import { renderText } from './bitmap-font.ts';

/** What a simulated channel looks and sounds like. */
export interface TestPicture {
  /** Drawn in the picture and announced in the SDT. */
  readonly name: string;
  readonly toneHz: number;
  readonly width: number;
  readonly height: number;
}

const FRAMES_PER_SECOND = 25;

/**
 * Arguments for an ffmpeg that writes the channel as MPEG-TS to stdout in real time: a moving picture with a running
 * clock, the name, a beeping tone. Everything is tuned for a first byte at once and a key frame every second.
 */
export function testPictureArguments(picture: TestPicture, durationSeconds?: number): string[] {
  return [
    ...['-hide_banner', '-nostdin', '-loglevel', 'error'],
    ...inputs(picture, ['-re']),
    ...['-filter_complex', filters(picture), '-map', '[picture]', '-map', '1:a'],
    ...VIDEO,
    ...AUDIO,
    ...['-metadata', `service_name=${picture.name}`, '-metadata', 'service_provider=holdfast'],
    ...(durationSeconds === undefined ? [] : ['-t', String(durationSeconds)]),
    ...OUTPUT,
  ];
}

/** 200 pictures and 375 frames of sound, of which the encoder puts one before the first that it is given. */
const RECORDED_PICTURES = 200;
const RECORDED_SAMPLES = 374 * 1024;
/** Of each second, apart from the pictures: the sound, and the headers of all packets. */
const SOUND_BITS = 110_000;
const HEADER_SHARE = 0.035;

/**
 * Arguments for an ffmpeg that writes eight seconds of the picture as fast as it can, at so many megabits per second from
 * begin to end, and so that its begin can follow its end: pictures and sound are of equal length.
 */
export function recordedPictureArguments(picture: TestPicture, megabits: number): string[] {
  const rate = String(Math.round(Math.max(50_000, megabits * 1e6 * (1 - HEADER_SHARE) - SOUND_BITS)));
  const sound = `[1:a]atrim=end_sample=${RECORDED_SAMPLES}[sound]`;
  return [
    ...['-hide_banner', '-nostdin', '-loglevel', 'error'],
    ...inputs(picture, []),
    ...['-filter_complex', `${filters(picture)};${sound}`, '-map', '[picture]', '-map', '[sound]'],
    ...ENCODER,
    ...['-b:v', rate, '-minrate', rate, '-maxrate', rate, '-bufsize', String(Math.round(Number(rate) / 10))],
    ...['-x264-params', 'nal-hrd=cbr:force-cfr=1:scenecut=0', '-frames:v', String(RECORDED_PICTURES)],
    ...AUDIO,
    ...['-f', 'mpegts', '-muxdelay', '0.3', '-muxpreload', '0', '-pat_period', '0.1', '-pcr_period', '20', 'pipe:1'],
  ];
}

function inputs({ name, toneHz, width, height }: TestPicture, pace: readonly string[]): string[] {
  const nameCard = `data:image/x-portable-graymap;base64,${renderText(name).toString('base64')}`;
  return [
    ...[...pace, '-f', 'lavfi', '-i', `testsrc2=size=${width}x${height}:rate=${FRAMES_PER_SECOND}`],
    ...[...pace, '-f', 'lavfi', '-i', `sine=frequency=${toneHz}:beep_factor=4:sample_rate=48000`],
    ...['-f', 'image2pipe', '-c:v', 'pgm', '-i', nameCard],
  ];
}

/** The name card keeps its size relative to the picture; `neighbor` keeps its pixels sharp. */
function filters({ height }: TestPicture): string {
  const scale = Math.max(1, Math.round(height / 90));
  return (
    `[2:v]scale=iw*${scale}:ih*${scale}:flags=neighbor[name];` +
    '[0:v][name]overlay=x=(W-w)/2:y=H-h-H/10,format=yuv420p[picture]'
  );
}

const ENCODER = [
  ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-threads', '1'],
  ...['-g', String(FRAMES_PER_SECOND)],
];
const VIDEO = [...ENCODER, '-b:v', '700k', '-maxrate', '700k', '-bufsize', '350k'];
const AUDIO = ['-c:a', 'aac', '-b:a', '96k', '-ac', '2'];
const OUTPUT = [
  ...['-f', 'mpegts', '-muxdelay', '0', '-muxpreload', '0', '-pat_period', '0.1', '-flush_packets', '1'],
  'pipe:1',
];
