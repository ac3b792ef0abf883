import { channel } from 'node:diagnostics_channel';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { FanoutReopen, FanoutSourceContext } from '../../src/fanout-hub/options.ts';
import type { Subscription } from '../../src/fanout-hub/subscription.ts';
import { eventually } from '../support/eventually.ts';
import { Sponge, seeded } from './support.ts';

/** Sources that count how many of them live at once. */
class CountedSource {
  alive = 0;
  most = 0;
  openings = 0;

  /** It is there from now on until its stream is closed. */
  open(): PassThrough {
    this.openings++;
    this.most = Math.max(this.most, ++this.alive);
    return new PassThrough().once('close', () => this.alive--);
  }
}

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

test.each<[string, (hub: FanoutHub, viewer: AbortController) => void, object]>([
  ['closes the hub', (hub) => void hub.close(), { state: 'closed', openings: 1 }],
  ['makes the last viewer leave', (_hub, viewer) => viewer.abort(), { state: 'idle', openings: 1 }],
  ['restarts the hub', (hub) => void hub.restart(), { state: 'live', openings: 2 }],
])('a source that %s while it is called lives beside no other and is gone in the end', async (_what, act, outcome) => {
  const source = new CountedSource();
  const viewer = new AbortController();
  const events: string[] = [];
  const hub = new FanoutHub({
    source: async () => {
      const stream = source.open();
      if (source.openings === 1) act(hub, viewer);
      await pause(20);
      stream.write('picture');
      return stream;
    },
  });
  for (const event of ['open', 'live', 'idle'] as const) hub.on(event, () => events.push(event));
  hub.pipe(new Sponge(), { signal: viewer.signal });
  expect(hub.state).toBe('closing');
  expect(events).toEqual(['open']);
  await eventually(() => expect({ state: hub.state, openings: source.openings }).toEqual(outcome));
  expect(source).toMatchObject({ alive: hub.state === 'live' ? 1 : 0, most: 1 });
  await hub.close();
  expect(source).toMatchObject({ alive: 0, most: 1 });
});

describe('reopen', () => {
  /** A hub whose source ends by itself after its first bytes, and whose `reopen` acts before it answers. */
  function hubWhose(reopen: (asked: number, hub: FanoutHub, viewer: AbortController) => ReturnType<FanoutReopen>) {
    const source = new CountedSource();
    const viewer = new AbortController();
    const counts = { asked: 0 };
    const hub: FanoutHub = new FanoutHub({
      source: () => {
        const stream = source.open();
        if (source.openings === 1) stream.end('picture');
        return stream;
      },
      reopen: () => reopen(++counts.asked, hub, viewer),
    });
    const { ended } = hub.pipe(new Sponge(), { signal: viewer.signal });
    return { hub, source, counts, ended };
  }

  const allowed = { allowed: true } as const;
  const soon = { allowed: false, retryAfterMs: 5 } as const;
  const later = { allowed: false, retryAfterMs: 60_000 } as const;
  const close = (hub: FanoutHub) => void hub.close();
  const leave = (_hub: FanoutHub, viewer: AbortController) => viewer.abort();

  test.each([
    ['closes the hub', allowed, 'closed', close],
    ['closes the hub', later, 'closed', close],
    ['closes the hub', false as const, 'closed', close],
    ['makes the last viewer leave', allowed, 'idle', leave],
    ['makes the last viewer leave', later, 'idle', leave],
    ['makes the last viewer leave', false as const, 'idle', leave],
  ])('that %s calls no source, though it answers %o', async (_what, answer, state, act) => {
    for (const when of [1, 2]) {
      const { hub, source, counts } = hubWhose((asked, hub, viewer) => {
        if (asked < when) return soon;
        act(hub, viewer);
        return answer;
      });
      const reached: unknown[] = [];
      const listener = (message: unknown) => void reached.push(message);
      channel(`holdfast:fanout-hub:${state}`).subscribe(listener);
      await eventually(() => expect(hub.state).toBe(state));
      await pause(10);
      expect({ ...counts, openings: source.openings }).toEqual({ asked: when, openings: 1 });
      expect(reached).toEqual([{ hub }]);
      channel(`holdfast:fanout-hub:${state}`).unsubscribe(listener);
      await hub.close();
    }
  });

  test.each([allowed, later, false as const])(
    'that restarts the hub opens one source, though it answers %o',
    async (answer) => {
      for (const when of [1, 2]) {
        const { hub, source, counts } = hubWhose((asked, hub) => {
          if (asked < when) return soon;
          void hub.restart();
          return answer;
        });
        await eventually(() => expect(source.openings).toBe(2));
        await pause(10);
        expect({ ...counts, openings: source.openings, most: source.most }).toEqual({
          asked: when,
          openings: 2,
          most: 1,
        });
        expect(hub).toMatchObject({ state: 'opening', subscribers: 1 });
        await hub.close();
        expect(source.alive).toBe(0);
      }
    },
  );

  test.each<[unknown, RegExp]>([
    [{ allowed: false }, /retryAfterMs .*undefined/],
    [{ allowed: false, retryAfterMs: Number.NaN }, /retryAfterMs .*NaN/],
    [{ allowed: false, retryAfterMs: -1 }, /retryAfterMs .*-1/],
    [{ allowed: 'yes' }, /allowed .*"yes"/],
    [Promise.resolve({ allowed: true }), /allowed .*undefined/],
    [undefined, /allowed .*undefined/],
    [null, /allowed .*undefined/],
  ])('that answers %o has failed, and is asked once', async (answer, message) => {
    const { hub, source, counts, ended } = hubWhose(() => answer as never);
    const failures: unknown[] = [];
    hub.on('failure', (error) => failures.push(error));
    expect((await ended).reason).toBe('source-ended');
    await eventually(() => expect(hub.state).toBe('idle'));
    expect(failures.map(String)).toEqual([expect.stringMatching(message)]);
    expect({ ...counts, openings: source.openings }).toEqual({ asked: 1, openings: 1 });
  });
});

test('a restart from the listener of live lets nothing of the old source into the slices of the new one', async () => {
  const streams: PassThrough[] = [];
  const source = () => {
    const stream = new PassThrough();
    streams.push(stream);
    return stream;
  };
  await using hub = new FanoutHub({ source, align: 4, sliceMs: 0 });
  hub.once('live', () => void hub.restart());
  const destination = new PassThrough();
  hub.pipe(destination);
  streams[0]?.write('old');
  await eventually(() => expect(streams).toHaveLength(2));
  streams[1]?.write('new1new2');
  await eventually(() => expect(destination.read(destination.readableLength)?.toString()).toBe('new1new2'));
});
