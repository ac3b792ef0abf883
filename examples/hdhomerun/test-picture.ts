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
    ...inputs(picture),
    ...['-filter_complex', filters(picture), '-map', '[picture]', '-map', '1:a'],
    ...VIDEO,
    ...AUDIO,
    ...['-metadata', `service_name=${picture.name}`, '-metadata', 'service_provider=holdfast'],
    ...(durationSeconds === undefined ? [] : ['-t', String(durationSeconds)]),
    ...OUTPUT,
  ];
}

function inputs({ name, toneHz, width, height }: TestPicture): string[] {
  const nameCard = `data:image/x-portable-graymap;base64,${renderText(name).toString('base64')}`;
  return [
    ...['-re', '-f', 'lavfi', '-i', `testsrc2=size=${width}x${height}:rate=${FRAMES_PER_SECOND}`],
    ...['-re', '-f', 'lavfi', '-i', `sine=frequency=${toneHz}:beep_factor=4:sample_rate=48000`],
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

const VIDEO = [
  ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-threads', '1'],
  ...['-g', String(FRAMES_PER_SECOND), '-b:v', '700k', '-maxrate', '700k', '-bufsize', '350k'],
];
const AUDIO = ['-c:a', 'aac', '-b:a', '96k', '-ac', '2'];
const OUTPUT = [
  ...['-f', 'mpegts', '-muxdelay', '0', '-muxpreload', '0', '-pat_period', '0.1', '-flush_packets', '1'],
  'pipe:1',
];
