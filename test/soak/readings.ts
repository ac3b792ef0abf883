/** What a scrape of `/metrics` says, as far as a soak looks at it. */
export interface Reading {
  /** Seconds since the begin. */
  readonly at: number;
  readonly rssBytes: number;
  readonly descriptors: number;
  readonly children: number;
  readonly restarts: number;
  readonly storms: number;
  readonly subscribers: number;
  readonly dropped: number;
  /** 99th percentile since the last scrape, in seconds. */
  readonly loopDelay: number;
}

/** A channel as `/api/channels` tells of it. */
export interface Channel {
  readonly id: string;
  readonly state: string;
}

/** A publisher that does not answer for so long hangs. */
const ANSWER_MS = 5_000;

function ask(url: string, path: string, signal: AbortSignal): Promise<Response> {
  return fetch(new URL(path, url), { signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]) });
}

export async function readChannels(url: string, signal: AbortSignal): Promise<Channel[]> {
  const { channels } = (await (await ask(url, '/api/channels', signal)).json()) as { channels?: Channel[] };
  if (!Array.isArray(channels)) throw new Error('/api/channels tells of no channels; is it a publisher?');
  return channels;
}

export async function readMetrics(url: string, at: number, signal: AbortSignal): Promise<Reading> {
  const response = await ask(url, '/metrics', signal);
  if (!response.ok) throw new Error(`${url}/metrics answered ${response.status}; a publisher with metrics is needed`);
  const text = await response.text();
  const sum = (name: string) => {
    const lines = text.match(new RegExp(`^${name}(?:\\{[^}]*\\})? \\S+$`, 'gm')) ?? [];
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  };
  return {
    at,
    rssBytes: sum('process_resident_memory_bytes'),
    descriptors: sum('process_open_fds'),
    children: sum('holdfast_children_active'),
    restarts: sum('holdfast_restarts_total'),
    storms: sum('holdfast_restart_storms_total'),
    subscribers: sum('holdfast_fanout_subscribers'),
    dropped: sum('holdfast_fanout_dropped_total'),
    loopDelay: sum('nodejs_eventloop_lag_p99_seconds'),
  };
}
