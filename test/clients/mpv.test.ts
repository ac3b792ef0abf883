import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { debianRoot, librariesIn } from '../support/debian.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs } from '../support/promised.ts';
import { asNobody, expectTunerFree, homeOfNobody, Player, startHouse } from './support.ts';

const root = await debianRoot(['mpv']);
const house = startHouse();

function startMpv(url: string): { mpv: Player; socket: string } {
  const home = homeOfNobody();
  const socket = join(home, 'mpv.sock');
  const env = {
    ...process.env,
    HOME: home,
    XDG_RUNTIME_DIR: home,
    LD_LIBRARY_PATH: librariesIn(root as string, 'pulseaudio', 'blas', 'lapack'),
  };
  const [wrapper = '', ...rest] = asNobody;
  const args = ['--no-config', '--vo=null', '--ao=null', '--ytdl=no', `--input-ipc-server=${socket}`, url];
  return { mpv: new Player(wrapper, [...rest, `${root}/usr/bin/mpv`, ...args], env), socket };
}

/** What mpv answers to one command over its socket. */
async function command(socket: string, ...words: readonly string[]): Promise<unknown> {
  const connection = connect(socket);
  try {
    connection.write(`${JSON.stringify({ command: words, request_id: 1 })}\n`);
    let said = '';
    while (!said.includes('"request_id":1')) {
      const [chunk] = await once(connection, 'data');
      said += chunk;
    }
    const answer = said.split('\n').find((line) => line.includes('"request_id":1')) as string;
    return JSON.parse(answer).data;
  } finally {
    connection.destroy();
  }
}

/** The position moves on, and frames come out of the decoder. */
async function expectPlays(socket: string): Promise<void> {
  const position = async () => Number(await command(socket, 'get_property', 'time-pos'));
  const first = await eventually(async () => {
    const at = await position();
    expect(at).toBeGreaterThan(0);
    return at;
  }, patienceMs(25_000));
  await eventually(async () => expect(await position()).toBeGreaterThan(first + 2), patienceMs(20_000));
  expect(Number(await command(socket, 'get_property', 'width'))).toBeGreaterThan(0);
}

describe.skipIf(!root)('mpv', () => {
  it('plays a channel, its position moves, and it frees the tuner when it is told to quit', async () => {
    const { mpv, socket } = startMpv(house.stream('5.1'));
    await expectPlays(socket);
    expect([house.simulator.streams('5.1'), house.simulator.opens('5.1')]).toEqual([1, 1]);
    await command(socket, 'quit').catch(() => {});
    expect(await mpv.exit).toBe(0);
    await expectTunerFree(house.simulator, 1_000);
  });

  it('plays HLS', async () => {
    const { mpv, socket } = startMpv(house.hls('7.1'));
    await expectPlays(socket);
    await command(socket, 'quit').catch(() => {});
    await mpv.exit;
    await expectTunerFree(house.simulator, 10_000);
  });

  it('ends with 2 where no tuner is free', async () => {
    await expectTunerFree(house.simulator, 10_000);
    using _first = house.simulator.occupy(0);
    using _second = house.simulator.occupy(1);
    expect(await startMpv(house.stream('9.1')).mpv.exit).toBe(2);
  });
});
