/**
 * What once went wrong where a publisher was run for years, each as a test. Where another file has it already:
 * - a duplicate publisher skips a source and names its holder: exclusion.test.ts
 * - ten minutes of nothing but 503, in faked time: refusals.test.ts
 * - N viewers are one tuner, and the last one to leave frees it within 250 ms: watching.test.ts, mixed-viewers.test.ts
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { hasNamespaces, ownPids } from '../support/namespace.ts';
import { abandon, childrenOf, endProcess, fixtureArguments, isRunning, startFixture } from '../support/processes.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, type Json, PublisherProcess, Viewer } from './support.ts';

/** What a fixture says in a pid namespace of its own. */
async function saidInOwnPids(fixture: string): Promise<Json> {
  const [program = '', ...args] = [...ownPids, process.execPath, ...fixtureArguments(fixture)];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const { value } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  await exit;
  if (value === undefined) throw new Error(`the fixture ${fixture} said nothing`);
  return JSON.parse(value);
}

describe.skipIf(!hasNamespaces())('a stale helper of a dead publisher that holds a tuner', () => {
  it('is found, named and ended at the start, and the channel comes up', async () => {
    const { left, owner, output, status, streams } = await saidInOwnPids('stale-helper');
    expect(left).toEqual({ helper: expect.any(Number), lives: true, streams: 1 });
    const named = output.split('\n').filter((line: string) => line.includes(String(left.helper)));
    expect(named.join('\n'), output).toMatch(
      new RegExp(`\\b${left.helper}\\b.*\\b${owner}\\b|\\b${owner}\\b.*\\b${left.helper}\\b`),
    );
    expect([status, streams]).toEqual([200, 1]);
  });
});

describe('what somebody else left behind who died', () => {
  it('is named and lives on, also over a publisher that dies and starts again', async () => {
    const recorder = startFixture('owner', ['echo $$; exec sleep 300', 1, 150, null, {}]);
    const [orphan] = (await recorder.next()) as [number];
    onTestFinished(() => endProcess(orphan));
    await abandon({ pid: recorder.pid, kill: (signal) => recorder.process.kill(signal) });
    await recorder.exit;
    const flags = ['--source', 'five=http://127.0.0.1:9/', '--lock-dir', temporaryDirectory()];
    const kept = [...flags, '--state-dir', temporaryDirectory()];
    for (let start = 0; start < 2; start++) {
      await using publisher = await PublisherProcess.start(kept);
      expect(publisher.output).toMatch(new RegExp(`WARN .*not touched: pid ${orphan}, which pid ${recorder.pid} left`));
      publisher.kill('SIGKILL');
      await publisher.exited;
    }
    expect(isRunning(orphan)).toBe(true);
  });

  it('is not touched if that was a publisher with another state directory', async () => {
    const simulator = await HdhomerunSimulator.start({ encoding: 'shared', tuners: 1 });
    onTestFinished(() => simulator.close());
    const source = ['--source', `five=cache:${simulator.streamUrl('5.1')}`, '--lock-dir', temporaryDirectory()];
    const other = await PublisherProcess.start([...source, '--state-dir', temporaryDirectory()]);
    const viewer = await Viewer.open(`${other.url}/channels/five.ts`);
    await viewer.more();
    const helper = childrenOf(other.pid).find(({ command }) => command.includes('/auto/v5.1'))?.pid as number;
    onTestFinished(() => endProcess(helper));
    process.kill(helper, 'SIGSTOP');
    await abandon({ pid: other.pid, kill: (signal) => other.kill(signal) });
    await other.exited;
    await using publisher = await PublisherProcess.start([...source, '--state-dir', temporaryDirectory()]);
    expect(publisher.output).toMatch(new RegExp(`WARN .*not touched: pid ${helper}, which pid ${other.pid} left`));
    expect(isRunning(helper)).toBe(true);
  });
});

describe('a source that is not free', () => {
  let simulator: HdhomerunSimulator;
  let lockDir: string;

  beforeEach(async () => {
    lockDir = temporaryDirectory();
    simulator = await HdhomerunSimulator.start({ encoding: 'shared', tuners: 1 });
    onTestFinished(() => simulator.close());
  });

  const start = () =>
    PublisherProcess.start([
      ...['--device', simulator.url, '--lock-dir', lockDir, '--state-dir', temporaryDirectory(), '--discovery', 'off'],
    ]);

  it('because a foreign process holds it: that one is named and not touched, also by a publisher that starts again', async () => {
    const foreign = startFixture('holder', [
      { source: simulator.streamUrl('5.1'), options: { dir: lockDir }, child: 'echo ready; exec sleep 300' },
    ]);
    const { child } = await foreign.next();
    for (let start_ = 0; start_ < 2; start_++) {
      await using publisher = await start();
      const { status, json } = await ask(`${publisher.url}/channels/5.1.ts`);
      expect([status, json.code, json.holder.pid]).toEqual([409, 'HOLDFAST_SOURCE_BUSY', foreign.pid]);
      expect((await publisher.channel('5.1')).holder).toMatchObject({ pid: foreign.pid });
      expect(publisher.output).toContain(`pid ${foreign.pid} `);
    }
    expect([isRunning(foreign.pid), isRunning(child)]).toEqual([true, true]);
    expect(simulator.opens()).toBe(0);
    process.kill(child, 'SIGKILL');
    await foreign.kill();
  });

  it('because another client of the device has the tuner: that one is named by its address and not touched', async () => {
    using _other = simulator.occupy(0, '10.0.0.42');
    await using publisher = await start();
    const { status, headers } = await ask(`${publisher.url}/channels/5.1.ts`);
    expect([status, headers.get('x-hdhomerun-error')]).toEqual([503, '805 All Tuners In Use']);
    const { devices } = await publisher.json('/api/tuners');
    expect(devices[0].tuners).toMatchObject([{ inUse: true, targetIp: '10.0.0.42' }]);
    expect(simulator.tuners()[0]?.holder?.address).toBe('10.0.0.42');
  });

  it('is 409 if that is a conflict of ours, 502 if it is an error of the source', async () => {
    await using first = await start();
    await using second = await start();
    using viewer = await Viewer.open(`${first.url}/channels/5.1.ts`);
    await viewer.more(10_000, patienceMs(10_000));
    expect((await ask(`${second.url}/channels/5.1.ts`)).status).toBe(409);
    simulator.misbehave({ fault: 'error-5xx', channel: '7.1', times: 1 });
    const { status, json, elapsedMs } = await ask(`${second.url}/channels/7.1.ts`);
    expect([status, json.channel]).toEqual([502, '7.1']);
    expect(elapsedMs).toBeLessThan(promisedMs(3_000));
  });
});
