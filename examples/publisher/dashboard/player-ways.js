import { openHls, openNative } from './hls-way.js';
import { openMpegTs } from './mpeg-ts-way.js';

/** How a browser is asked whether it decodes what mpegts.js takes out of MPEG-TS, by the publisher's names of codecs. */
const TYPES = {
  'H.264': 'video/mp4; codecs="avc1.640028"',
  HEVC: 'video/mp4; codecs="hvc1.1.6.L120.90"',
  AAC: 'audio/mp4; codecs="mp4a.40.2"',
  'MPEG audio': 'audio/mpeg',
  'AC-3': 'audio/mp4; codecs="ac-3"',
  'E-AC-3': 'audio/mp4; codecs="ec-3"',
};

const canDecode = (codec) => Boolean(window.MediaSource?.isTypeSupported(TYPES[codec]));

/** As far as is known what it is: that may be only once it is read. */
export const playsAsItComes = ({ codecs = [] }) => codecs.every(canDecode);

/** The ways to play a channel here, the best first: as it comes, converted for browsers, by HLS. */
export function waysTo(channel) {
  const { url } = channel;
  const direct = { kind: 'mpeg-ts', url, isAsItComes: true };
  const converted = { kind: 'mpeg-ts', url: `${url}?profile=web`, name: 'converted' };
  // The publisher itself takes what browsers play, and encodes it if it has to.
  const byHls = { url: url.replace(/\.ts$/, '/hls/index.m3u8'), name: 'HLS' };
  const live = playsAsItComes(channel) ? [direct, converted] : [converted];
  const ways = window.MediaSource && canDecode('H.264') ? live : [];
  if (window.MediaSource ?? window.ManagedMediaSource) return [...ways, { ...byHls, kind: 'hls' }];
  const hasHls = document.createElement('video').canPlayType('application/vnd.apple.mpegurl') !== '';
  return hasHls ? [{ ...byHls, kind: 'native' }] : [];
}

/** @param on `ready()`, `firstByte()` and `failed({ title, detail, retryAfter, isOfBrowser })` */
export function openWay(way, video, on) {
  const absolute = { ...way, url: new URL(way.url, location.href).href };
  if (way.kind === 'hls') return openHls(absolute, video, on);
  if (way.kind === 'native') return openNative(absolute, video, on);
  return openMpegTs(absolute, video, on);
}
