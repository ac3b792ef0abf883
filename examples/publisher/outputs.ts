import type { Registry } from '@prometheus-io/client';
import type { Channels } from './channel/channels.ts';
import type { Config } from './config/config.ts';
import { Hls } from './hls/hls.ts';
import { observeHls } from './hls/hls-metrics.ts';
import type { Viewers } from './http/viewers.ts';
import type { Logger } from './log.ts';
import { Previews } from './preview/previews.ts';
import { observePushes, Pushes } from './push/pushes.ts';

export interface OutputOptions {
  /** What holds now; it may change. */
  readonly config: Config;
  /** Where segments of HLS are written, if they are. */
  readonly folder: string;
  readonly channels: Channels;
  readonly viewers: Viewers;
  /** The ffmpeg to run; throws an error that says how to get one. */
  readonly ffmpeg: () => string;
  readonly log: Logger;
}

/** What is made of channels beside their MPEG-TS. */
export class Outputs implements AsyncDisposable {
  readonly hls: Hls;
  readonly previews: Previews;
  readonly pushes: Pushes;
  readonly #config: Config;

  constructor(options: OutputOptions, registry: Registry) {
    const { config, channels, ffmpeg, log } = options;
    this.#config = config;
    this.hls = new Hls({ ...options, canEncode: () => isThere(ffmpeg) });
    this.previews = new Previews(options);
    this.pushes = new Pushes(config.push, { channel: (id) => channels.get(id), ffmpeg, limits: config, log });
    observeHls(registry, this.hls);
    observePushes(registry, this.pushes);
  }

  /** The configuration has changed. */
  reload(): void {
    this.pushes.configure(this.#config.push);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [this.hls, this.previews, this.pushes];
    await Promise.all(all.map((output) => output[Symbol.asyncDispose]()));
  }
}

function isThere(program: () => string): boolean {
  try {
    return program() !== '';
  } catch {
    return false;
  }
}
