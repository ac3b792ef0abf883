import type { Registry } from '@prometheus-io/client';
import { Hls, type HlsOptions } from './hls/hls.ts';
import { observeHls } from './hls/hls-metrics.ts';

/** What is made of channels beside their MPEG-TS. */
export class Outputs implements AsyncDisposable {
  readonly hls: Hls;

  constructor(options: HlsOptions, registry: Registry) {
    this.hls = new Hls(options);
    observeHls(registry, this.hls);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hls[Symbol.asyncDispose]();
  }
}
