import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Fault, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';
import { isUnderLoad, patienceMs, promisedMs } from '../support/promised.ts';
import { mulberry32 } from '../support/random.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Json, PublisherProcess, pidsOfChildren, timed, Viewer } from './support.ts';

/** Under load a restart alone may take half of the shorter. */
const STORM_MS = isUnderLoad ? 60_000 : 20_000;
const TUNERS = 2;
/** When the publisher is killed, as a share of the storm. */
const KILLS = [0.3, 0.65];
const FAULTS: readonly Fault[] = ['busy', 'tune-failed', 'error-5xx', 'reset', 'stall', 'cut', 'end', 'garbage'];
/** What a viewer may be told. */
const ANSWERS = [200, 409, 429, 502, 503, 504];
const RENDITIONS = ['', '', '', '?profile=low', '?profile=audio'];

const lockDir = temporaryDirectory(afterAll);
const stateDir = temporaryDirectory(afterAll);
let simulator: HdhomerunSimulator;

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start({ tuners: TUNERS, encoding: 'shared', size: { width: 160, height: 90 } });
});

afterAll(() => simulator.close());

const start = () =>
  PublisherProcess.start([
    ...['--device', simulator.url, '--lock-dir', lockDir, '--state-dir', stateDir, '--discovery', 'off'],
    ...['--restart-cooldown-ms', '0', '--start-timeout-ms', String(promisedMs(3_000)), '--stall-timeout-ms', '2000'],
  ]);

/** Viewers who come and go, and what the publisher told them. */
class Crowd {
  readonly #random: () => number;
  readonly #viewers: Viewer[] = [];
  readonly #opening = new Set<Promise<unknown>>();
  readonly answers = new Map<number, number>();

  constructor(random: () => number) {
    this.#random = random;
  }

  join(url: string): void {
    const opening = Viewer.open(url).then(
      (viewer) => {
        this.answers.set(viewer.status, (this.answers.get(viewer.status) ?? 0) + 1);
        this.#viewers.push(viewer);
      },
      () => {}, // the publisher was killed
    );
    this.#opening.add(opening);
    void opening.finally(() => this.#opening.delete(opening));
  }

  leave(): void {
    this.#viewers.splice(Math.floor(this.#random() * this.#viewers.length), 1)[0]?.leave();
  }

  async disperse(): Promise<void> {
    await Promise.all(this.#opening);
    for (const viewer of this.#viewers.splice(0)) viewer.leave();
  }
}

it('viewers come and go, tuners fail and the publisher is killed: no double reader, no orphan, no empty directory', async () => {
  const seed = Number(process.env.HOLDFAST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`HOLDFAST_TEST_SEED=${seed}`);
  const random = mulberry32(seed);
  const pick = <T>(of: readonly T[]) => of[Math.floor(random() * of.length)] as T;
  const numbers = simulator.channels.map(({ number }) => number);
  const crowd = new Crowd(random);
  const kills = [...KILLS];
  let publisher = await start();
  try {
    const begun = performance.now();
    for (let elapsed = 0; elapsed < STORM_MS; elapsed = performance.now() - begun) {
      if (elapsed > STORM_MS * (kills[0] ?? 1)) {
        kills.shift();
        publisher = await killAndRestart(publisher);
      }
      const action = random();
      if (action < 0.4) crowd.join(`${publisher.url}/channels/${pick(numbers)}.ts${pick(RENDITIONS)}`);
      else if (action < 0.8) crowd.leave();
      else if (action < 0.95) simulator.misbehave({ fault: pick(FAULTS), channel: pick(numbers), times: 1 });
      else simulator.heal();
      expect((await publisher.json('/api/public-streams')).streams.map(({ id }: Json) => id)).toEqual(numbers);
      expect(numbers.filter((number) => simulator.streams(number) > 1)).toEqual([]);
      await new Promise((resolve) => setTimeout(resolve, random() * 100));
    }
    simulator.heal();
    await crowd.disperse();
    console.log(`${simulator.opens()} openings; answers: ${JSON.stringify([...crowd.answers])}`);
    expect([...crowd.answers.keys()].filter((status) => !ANSWERS.includes(status))).toEqual([]);
    expect(crowd.answers.get(200)).toBeGreaterThan(10);
    await timed(1_000, () => expect(simulator.streams()).toBe(0));
    for (const number of numbers) await showsAgain(publisher, number);
    expect(numbers.map((number) => simulator.maxStreamsOf(number))).toEqual(numbers.map(() => 1));
    expect(simulator.maxStreams).toBeLessThanOrEqual(TUNERS);
  } finally {
    await crowd.disperse();
    await publisher[Symbol.asyncDispose]();
  }
  expect(simulator.streams()).toBe(0);
}, 240_000);

/** What it leaves is gone at once, and the next one knows its channels before it has asked anybody. */
async function killAndRestart(publisher: PublisherProcess): Promise<PublisherProcess> {
  const children = pidsOfChildren(publisher.pid);
  publisher.kill('SIGKILL');
  await publisher.exited;
  await timed(1_000, () => {
    expect(children.filter(isRunning)).toEqual([]);
    expect(simulator.streams()).toBe(0);
  });
  return await start();
}

/** A source that failed often rests for a while. */
async function showsAgain(publisher: PublisherProcess, number: string): Promise<void> {
  await eventually(async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/${number}.ts`);
    expect(viewer.status).toBe(200);
    await viewer.more(20_000);
  }, patienceMs(90_000));
}
