import { describe, expect, it } from 'vitest';
import { debianRoot, librariesIn } from '../support/debian.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs } from '../support/promised.ts';
import { asNobody, expectTunerFree, homeOfNobody, Player, startHouse } from './support.ts';

const root = await debianRoot(['vlc-bin', 'vlc-plugin-base']);
const house = startHouse();

/** VLC without a window; it decodes what it shows. It refuses to be root's. */
function startVlc(url: string): Player {
  const home = homeOfNobody();
  const libraries = librariesIn(root as string, 'vlc', 'pulseaudio');
  const plugins = libraries
    .split(':')
    .map((folder) => `${folder}/plugins`)
    .filter((folder) => folder.includes('/vlc/'));
  const env = {
    ...process.env,
    HOME: home,
    XDG_RUNTIME_DIR: home,
    LD_LIBRARY_PATH: libraries,
    VLC_PLUGIN_PATH: plugins.join(':'),
  };
  const [wrapper = '', ...rest] = asNobody;
  const quiet = ['-I', 'dummy', '--no-dbus', '--aout=dummy', '--vout=dummy', '--no-metadata-network-access', '-vv'];
  return new Player(wrapper, [...rest, `${root}/usr/bin/vlc`, ...quiet, url, 'vlc://quit'], env);
}

async function expectPicture(vlc: Player): Promise<void> {
  await eventually(() => {
    expect(vlc.output).toContain('Received first picture');
    expect(vlc.output).toMatch(/codec \(h264\) started|using .*h264/i);
  }, patienceMs(25_000));
}

describe.skipIf(!root)('VLC', () => {
  it('plays a channel, and frees the tuner when it stops', async () => {
    const vlc = startVlc(house.stream('5.1'));
    await expectPicture(vlc);
    expect([house.simulator.streams('5.1'), house.simulator.opens('5.1')]).toEqual([1, 1]);
    vlc.kill();
    await vlc.exit;
    await expectTunerFree(house.simulator, 1_000);
  });

  it('plays HLS, and frees the tuner a while after it stopped', async () => {
    const vlc = startVlc(house.hls('7.1'));
    await expectPicture(vlc);
    expect(house.simulator.opens('7.1')).toBe(1);
    vlc.kill();
    await vlc.exit;
    await expectTunerFree(house.simulator, 10_000);
  });

  it('says the status where no tuner is free, and ends', async () => {
    await expectTunerFree(house.simulator, 10_000);
    using _first = house.simulator.occupy(0);
    using _second = house.simulator.occupy(1);
    const vlc = startVlc(house.stream('9.1'));
    await vlc.exit;
    expect(vlc.output).toMatch(/HTTP 503 error|503 Service Unavailable/);
  });
});
