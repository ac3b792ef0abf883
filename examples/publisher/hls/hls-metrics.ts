import { Gauge, type Registry } from '@prometheus-io/client';
import type { Hls } from './hls.ts';

/** Shows what is made of HLS, and for how many, at every scrape. */
export function observeHls(registry: Registry, hls: Hls): void {
  const registers = [registry];
  new Gauge({
    ...{
      name: 'publisher_hls_streams',
      help: 'Channels and profiles that are cut into segments of HLS now',
      registers,
    },
    collect() {
      this.set([...hls.streams].length);
    },
  });
  new Gauge({
    ...{ name: 'publisher_hls_segments', help: 'Segments of HLS that are kept now', registers },
    collect() {
      this.set([...hls.streams].reduce((sum, { ring }) => sum + ring.size, 0));
    },
  });
  new Gauge({
    ...{ name: 'publisher_hls_sessions', help: 'Viewers of HLS', registers },
    collect() {
      this.set(hls.sessions.size);
    },
  });
}
