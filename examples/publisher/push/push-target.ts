import { redactCredentials } from 'holdfast';
import { quickProbe } from '../pipeline/encoder-arguments.ts';

/** Of the query, what is none; whatever else is in it may be. */
const PLAIN: readonly string[] = [
  ...['mode', 'latency', 'rcvlatency', 'peerlatency', 'transtype', 'maxbw', 'pbkeylen', 'timeout', 'connect_timeout'],
  ...['pkt_size', 'buffer_size', 'ttl', 'localaddr', 'localport', 'broadcast', 'bitrate', 'burst_bits', 'reuse'],
];
/**
 * What this host holds for a peer that stops reading, whose silence is seen only when that is full: half a minute of a slow
 * stream if the system decides. It is enough for 10 Mbit/s to a peer 200 ms away.
 */
const SEND_BYTES = String(256 * 1024);
/** What is said instead of a secret. */
const HIDDEN = '***';

/** Where a push goes. Its address holds secrets (a stream key, a passphrase), which only ffmpeg is given. */
export class PushTarget {
  readonly protocol: 'srt' | 'rtmp' | 'udp';
  /** For people: without any secret. */
  readonly shown: string;
  readonly #url: string;
  readonly #secrets: readonly string[];

  constructor(url: string) {
    const parsed = new URL(url);
    this.#url = url;
    this.protocol = parsed.protocol.replace(/s?:$/, '') as PushTarget['protocol'];
    this.#secrets = secretsOf(parsed, this.protocol === 'rtmp');
    const [, app = '', ...key] = parsed.pathname.split('/');
    const shownPath = key.length > 0 ? `${app}/${HIDDEN}` : HIDDEN;
    const rest = this.protocol === 'rtmp' ? `/${shownPath}` : '';
    this.shown = `${parsed.protocol}//${parsed.host}${rest}`;
  }

  /** The arguments of ffmpeg that send MPEG-TS from its stdin there, as it is. */
  get arguments(): string[] {
    const about = ['-nostdin', '-hide_banner', '-loglevel', 'error'];
    const input = ['-fflags', '+genpts', ...quickProbe(), '-f', 'mpegts', '-scan_all_pmts', '0', '-i', 'pipe:0'];
    const streams = ['-map', '0:v?', '-map', '0:a?', '-c', 'copy'];
    const progress = ['-progress', 'pipe:1', '-stats_period', '0.5'];
    return [...about, ...input, ...streams, ...progress, ...this.#muxer(), this.#url];
  }

  /** A text of ffmpeg or the system, without the secrets. */
  scrub(text: string): string {
    const plain = text.replaceAll(this.#url, this.shown);
    return redactCredentials(this.#secrets.reduce((rest, secret) => rest.replaceAll(secret, HIDDEN), plain));
  }

  #muxer(): string[] {
    if (this.protocol === 'rtmp')
      return ['-send_buffer_size', SEND_BYTES, '-flvflags', 'no_duration_filesize', '-f', 'flv'];
    const datagrams = this.protocol === 'udp' && !/[?&]pkt_size=/.test(this.#url) ? ['-pkt_size', '1316'] : [];
    return [...datagrams, '-mpegts_flags', '+resend_headers', '-f', 'mpegts'];
  }
}

/** Longest first, so that none is left in part; what is as short as a word would only make texts unreadable. */
function secretsOf({ username, password, pathname, searchParams }: URL, isPathSecret: boolean): string[] {
  const [, app = '', ...key] = isPathSecret ? pathname.split('/') : [];
  // Without an application it is the key that stands there.
  const path = key.length > 0 ? key : [app];
  const values = Array.from(searchParams).flatMap(([name, value]) => (PLAIN.includes(name) ? [] : [value]));
  const raw = [username, password, ...values, ...path, ...(isPathSecret ? [path.join('/')] : [])];
  const all = raw.flatMap((text) => [text, decoded(text), encodeURIComponent(text)]);
  return [...new Set(all)].filter((text) => text.length >= 4).sort((a, b) => b.length - a.length);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
