import { isDeepStrictEqual } from 'node:util';
import { OPTIONS } from './options.ts';
import type { Config } from './schema.ts';

/** What is set once, when the program starts: a change of it waits for the next start. */
export const UNTIL_RESTART: ReadonlySet<string> = new Set<keyof Config>([
  ...(['port', 'bind', 'lockDir', 'stateDir', 'demo', 'log'] as const),
  ...(['restartCooldownMs', 'maxProcesses', 'hlsRing'] as const),
]);

/** What a reload changed. */
export interface Changes {
  readonly applied: readonly (keyof Config)[];
  /** What is other than it was at the start, and stays as it was. */
  readonly waiting: readonly (keyof Config)[];
}

/** A configuration that can be replaced while it is used: who asks it when something is to be done gets what holds then. */
export class LiveConfig {
  /** Each option is read when it is asked for; a copy of it is what holds now. */
  readonly view: Config;
  #config: Config;

  constructor(config: Config) {
    this.#config = config;
    const options = Object.keys(OPTIONS) as (keyof Config)[];
    const getters = options.map((option) => [option, { enumerable: true, get: () => this.#config[option] }] as const);
    this.view = Object.defineProperties({}, Object.fromEntries(getters)) as Config;
  }

  /** The view with more beside it. A copy of it has what holds when it is made. */
  with<T extends object>(more: T): Config & T {
    return Object.defineProperties({ ...more }, Object.getOwnPropertyDescriptors(this.view)) as Config & T;
  }

  replace(next: Config): Changes {
    const options = Object.keys(OPTIONS) as (keyof Config)[];
    const changed = options.filter((option) => !isDeepStrictEqual(this.#config[option], next[option]));
    const kept = Object.fromEntries([...UNTIL_RESTART].map((option) => [option, this.#config[option as keyof Config]]));
    this.#config = { ...next, ...kept };
    return {
      applied: changed.filter((option) => !UNTIL_RESTART.has(option)),
      waiting: changed.filter((option) => UNTIL_RESTART.has(option)),
    };
  }
}
