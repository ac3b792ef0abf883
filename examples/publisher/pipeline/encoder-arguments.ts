import { filePath, tunerStream } from '../source-address.ts';

/** What ffmpeg is told to read. */
export interface EncoderInput {
  readonly url: string;
  /** For the service name in the stream, which players show. */
  readonly name: string;
}

/**
 * Arguments of ffmpeg that turn an input into MPEG-TS on stdout, without encoding anything.
 *
 * They are made as an array, and each text from outside is one element behind an option that takes a value, so that
 * nothing in it can become an option. An address with a password is in the arguments of the process, where `ps` of the
 * same host shows it: ffmpeg has no other way to get one. It is nowhere else.
 *
 * What is read from the web leads to nothing else: ffmpeg itself follows no playlist from there to a file of this host.
 */
export function encoderArguments(input: EncoderInput): string[] {
  return ['-nostdin', '-hide_banner', '-loglevel', 'warning', ...inputArguments(input.url), ...outputArguments(input)];
}

/** A file is played at its own speed and again from its begin, so that it is a live channel like the others. */
function inputArguments(url: string): string[] {
  const path = filePath(url);
  if (path !== undefined) return ['-re', '-stream_loop', '-1', '-i', `file:${path}`];
  return [...quickStart(url), ...transportArguments(url), '-i', url];
}

/**
 * What a stream holds is looked for in its begin, which is the better part of the start: for a second, where by default it
 * would be five. The frame rate is not waited for: a copy does not need it.
 */
export function quickProbe(seconds = 1): string[] {
  return ['-probesize', '2000000', '-fpsprobesize', '0', '-analyzeduration', String(seconds * 1_000_000)];
}

/** Of a tuner it is known that all programs are announced at once, so that looking ends with the first picture and sound. */
function quickStart(url: string): string[] {
  const known = tunerStream(url) ? ['-f', 'mpegts', '-scan_all_pmts', '0', ...quickProbe(2)] : quickProbe();
  return ['-fflags', '+nobuffer+genpts', ...known];
}

/** Over UDP, what a camera sends is lost too often. */
function transportArguments(url: string): string[] {
  return /^rtsps?:/i.test(url) ? ['-rtsp_transport', 'tcp'] : [];
}

function outputArguments({ name }: EncoderInput): string[] {
  return ['-map', '0:v?', '-map', '0:a?', '-c', 'copy', ...muxArguments(name)];
}

/**
 * MPEG-TS on stdout. PAT and PMT come ten times a second: a viewer that joins needs one to begin. Nothing is held back for
 * muxing.
 */
export function muxArguments(name: string): string[] {
  const service = ['-metadata', `service_name=${name}`, '-metadata', 'service_provider=holdfast'];
  const mux = ['-f', 'mpegts', '-mpegts_flags', '+resend_headers', '-pat_period', '0.1', '-sdt_period', '0.5'];
  return [...service, ...mux, '-muxdelay', '0', '-muxpreload', '0', '-flush_packets', '1', 'pipe:1'];
}
