import { openHls, openNative } from './hls-way.js';
import { openMpegTs } from './mpeg-ts-way.js';

/** What a browser that has Media Source Extensions can decode, by the names that the publisher gives to codecs. */
const TYPES = {
  h264: 'video/mp4; codecs="avc1.640028"',
  hevc: 'video/mp4; codecs="hvc1.1.6.L120.90"',
  av1: 'video/mp4; codecs="av01.0.08M.08"',
  aac: 'audio/mp4; codecs="mp4a.40.2"',
  mp3: 'audio/mpeg',
  ac3: 'audio/mp4; codecs="ac-3"',
  eac3: 'audio/mp4; codecs="ec-3"',
  opus: 'audio/mp4; codecs="opus"',
};
/** What mpegts.js takes out of MPEG-TS and hands to the browser. */
const IN_MPEG_TS = new Set(['h264', 'hevc', 'aac', 'mp3', 'ac3', 'eac3']);

const canDecode = (codec) =>
  IN_MPEG_TS.has(codec) && TYPES[codec] !== undefined && Boolean(window.MediaSource?.isTypeSupported(TYPES[codec]));

/**
 * The ways to play a channel here, the best first: as it comes, converted for browsers, by HLS. What is known to be
 * unplayable as it comes is tried so last.
 */
export function waysTo({ url, hls, codecs }) {
  const hlsUrl = hls ?? url.replace(/\.ts$/, '/hls/index.m3u8');
  const hasMediaSource = Boolean(window.MediaSource ?? window.ManagedMediaSource);
  const direct = { kind: 'mpeg-ts', url, name: 'as it comes' };
  const converted = { kind: 'mpeg-ts', url: `${url}?profile=web`, name: 'converted for browsers' };
  const byHls = { kind: hasMediaSource ? 'hls' : 'native', url: `${hlsUrl}?profile=web`, name: 'by HLS' };
  const isPlayable = !codecs || codecs.every(canDecode);
  const live = hasMediaSource && canDecode('h264') ? [direct, converted] : [];
  const usable = isPlayable ? live : live.reverse();
  const canHls = hasMediaSource || document.createElement('video').canPlayType('application/vnd.apple.mpegurl') !== '';
  return canHls ? [...usable, byHls] : usable;
}

/** @param on `firstByte()` and `failed({ title, detail, retryAfter, isOfMedia })` */
export function openWay(way, video, on) {
  const absolute = { ...way, url: new URL(way.url, location.href).href };
  if (way.kind === 'hls') return openHls(absolute, video, on);
  if (way.kind === 'native') return openNative(absolute, video, on);
  return openMpegTs(absolute, video, on);
}
