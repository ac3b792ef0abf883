import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { FanoutSourceContext } from '../../src/fanout-hub/options.ts';
import type { Subscription } from '../../src/fanout-hub/subscription.ts';
import { eventually } from '../support/eventually.ts';
import { Sponge, seeded } from './support.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test.each([1, 2, 3, 4])(
  'whatever happens in whatever order, one source lives at most and none in the end (%i)',
  async (n) => {
    const seed = (Date.now() + n * 7919) >>> 0;
    const random = seeded(seed);
    let [alive, most] = [0, 0];
    let stream: PassThrough | undefined;
    const slowly = () => ({ [Symbol.asyncDispose]: () => pause(random(4)).then(() => void alive--) });
    const source = async ({ use }: FanoutSourceContext) => {
      alive++;
      most = Math.max(most, alive);
      use(slowly());
      await pause(random(4));
      if (random(5) === 0) throw new Error('no luck');
      stream = new PassThrough();
      stream.write('first');
      return stream;
    };
    const hub = new FanoutHub({
      source,
      sliceMs: random(2),
      closeAfterMs: random(3),
      reopen: () =>
        [{ allowed: true } as const, { allowed: false, retryAfterMs: 2 } as const, false as const][random(3)] ?? false,
    });
    const all: Subscription[] = [];
    const open: Subscription[] = [];
    const subscribe = () => all.push(open[open.push(hub.pipe(new Sponge())) - 1] as Subscription);
    const leave = () => void open.splice(random(open.length), 1)[0]?.[Symbol.asyncDispose]();
    const actions = [
      subscribe,
      subscribe,
      leave,
      leave,
      () => void stream?.write('more'),
      () => void stream?.end(),
      () => void stream?.destroy(new Error('gone')),
      () => void hub.restart(),
    ];
    for (let step = 0; step < 400; step++) {
      actions[random(actions.length)]?.();
      if (random(2) === 0) await pause(random(3));
    }
    if (n % 2 === 0) await Promise.all(open.map((subscription) => subscription[Symbol.asyncDispose]()));
    else await hub.close();
    await eventually(() => expect(['idle', 'closed'], `seed ${seed}`).toContain(hub.state));
    expect({ alive, most, subscribers: hub.subscribers }, `seed ${seed}`).toEqual({
      alive: 0,
      most: 1,
      subscribers: 0,
    });
    expect(await Promise.all(all.map(({ ended }) => ended))).toHaveLength(all.length);
  },
);
