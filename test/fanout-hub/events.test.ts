import { expect, test } from 'vitest';
import type { FanoutHubEvents } from '../../src/fanout-hub/events.ts';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import { eventually } from '../support/eventually.ts';
import { Uncaught } from '../support/uncaught.ts';
import { ScriptedSource, Sponge } from './support.ts';

test.each<keyof FanoutHubEvents>(['open', 'live', 'lag', 'failure', 'idle'])(
  'a listener of %s that throws is an uncaught exception, once; the hub and the others go on',
  async (event) => {
    using uncaught = new Uncaught();
    const source = new ScriptedSource();
    let disposed = 0;
    await using hub = new FanoutHub({
      sliceMs: 0,
      source: (context) => {
        context.use({ [Symbol.dispose]: () => disposed++ });
        return source.open(context);
      },
    });
    const thrown = new Error(`thrown by a listener of ${event}`);
    let told = 0;
    hub.on(event, () => {
      throw thrown;
    });
    hub.on(event, () => told++);
    const sponge = new Sponge();
    const { live } = hub.pipe(sponge);
    const slow = hub.subscribe({ maxLagBytes: 1 });
    source.write('two bytes');
    await live;
    source.write(' and more');
    expect((await slow.ended).reason).toBe('lagged');
    await eventually(() => expect(sponge.text).toBe('two bytes and more'));
    source.stream.destroy(new Error('gone'));
    await eventually(() => expect(hub).toMatchObject({ state: 'idle', subscribers: 0 }));
    expect({ told, disposed, errors: uncaught.errors }).toEqual({ told: 1, disposed: 1, errors: [thrown] });
  },
);

test('a listener of lag that throws does not keep those who lag as well', async () => {
  using uncaught = new Uncaught();
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  hub.on('lag', ({ deliveredBytes }) => {
    throw deliveredBytes;
  });
  const slow = [hub.subscribe({ maxLagBytes: 1 }), hub.subscribe({ maxLagBytes: 1 })];
  source.write('two bytes');
  await Promise.all(slow.map(({ live }) => live));
  source.write(' and more');
  const ends = await Promise.all(slow.map(({ ended }) => ended));
  expect(ends.map(({ reason }) => reason)).toEqual(['lagged', 'lagged']);
  await eventually(() => expect(uncaught.errors).toEqual([0, 0]));
});

test('a listener that is added with once is called once, also if it throws', async () => {
  using uncaught = new Uncaught();
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open });
  let told = 0;
  hub.once('open', () => {
    throw ++told;
  });
  for (let i = 0; i < 2; i++) {
    await hub.pipe(new Sponge())[Symbol.asyncDispose]();
    await eventually(() => expect(hub.state).toBe('idle'));
  }
  expect({ told, openings: source.openings, errors: uncaught.errors }).toEqual({ told: 1, openings: 2, errors: [1] });
});
