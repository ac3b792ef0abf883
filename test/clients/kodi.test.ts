import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Json, PublisherProcess } from '../publisher/support.ts';
import { debianRoot } from '../support/debian.ts';
import { eventually } from '../support/eventually.ts';
import { hasNamespaces } from '../support/namespace.ts';
import { type TestHost, testNetwork } from '../support/network.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { homeOfNobody, Player } from './support.ts';

const root = hasNamespaces() ? await debianRoot(['kodi', 'kodi-pvr-hdhomerun', 'xvfb']) : undefined;
const PORT = 5004;

/**
 * Kodi in a pid namespace that it ends with, where the packages lie over the system's own, on a screen of memory. It has a
 * `/tmp` of its own, in which the screen leaves its lock.
 */
function startKodi({ wrapper }: TestHost, home: string): Player {
  const system = ['', '/pulseaudio', '/blas', '/lapack'].map((folder) => `/usr/lib/x86_64-linux-gnu${folder}`);
  const libraries = ['/srv/lib/x86_64-linux-gnu', ...system].join(':');
  const user =
    'setpriv --reuid=65534 --regid=65534 --clear-groups env -i PATH=/usr/bin:/bin HOME=/mnt XDG_RUNTIME_DIR=/mnt';
  const screen = 'Xvfb :7 -screen 0 640x360x24 -nolisten tcp & sleep 1';
  const script = `
    mount --bind ${root} /srv
    mount --bind ${home} /mnt
    mount -t overlay overlay -o lowerdir=/srv/usr:/usr /usr
    mount -t tmpfs tmpfs /tmp
    # The shell stays, for it ends with its parent, and all in its namespace with it; who becomes another user does not.
    ${user} LIBGL_ALWAYS_SOFTWARE=1 LD_LIBRARY_PATH=${libraries} \\
      sh -c '${screen}; DISPLAY=:7 exec kodi --standalone --audio-backend=null'
    exit`;
  const own = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-ec', script];
  const [program = '', ...rest] = [...wrapper, ...own];
  return new Player(program, rest, process.env);
}

/** Runs a line of JavaScript on a host of the test's network, and what it says. */
async function on({ wrapper }: TestHost, script: string): Promise<Json> {
  const [program = '', ...rest] = [...wrapper, process.execPath, '-e', script];
  return JSON.parse((await promisify(execFile)(program, rest, { timeout: patienceMs(10_000) })).stdout);
}

/** One call of Kodi's JSON-RPC, which it answers to its own host alone. */
async function rpc(host: TestHost, method: string, params: object = {}): Promise<Json> {
  const request = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const { result, error } = await on(
    host,
    `const socket = require('net').connect(9090, '127.0.0.1');
     let said = '';
     socket.on('error', (error) => { console.log(JSON.stringify({ error: error.message })); process.exit(); });
     socket.on('data', (chunk) => {
       said = (said + chunk).slice((said + chunk).startsWith('{"jsonrpc":"2.0","method"') ? (said + chunk).lastIndexOf('{"error":') : 0);
       if (!said.includes('"id":1')) return;
       console.log(said.slice(Math.max(said.indexOf('{"id":1'), said.indexOf('{"error"'))));
       process.exit();
     });
     socket.write(${JSON.stringify(request)});`,
  );
  if (error) throw new Error(`Kodi: ${method}: ${JSON.stringify(error)}`);
  return result;
}

describe.skipIf(!root)('Kodi with its HDHomeRun add-on', () => {
  it('finds the publisher by itself, lists its channels, plays one, and frees the tuner when it is told to stop', async () => {
    const network = await testNetwork();
    onTestFinished(() => network.end());
    const [server, client] = network.hosts;
    const flags = [
      '--demo',
      '--bind',
      '0.0.0.0',
      '--port',
      String(PORT),
      '--discovery',
      'on',
      '--advertise',
      `http://${server.address}:${PORT}/`,
    ];
    const publisher = new PublisherProcess([...flags, '--lock-dir', temporaryDirectory()], server.env);
    onTestFinished(() => publisher[Symbol.asyncDispose]());
    await publisher.says(/watch: /, patienceMs(30_000));
    const tuners = async () =>
      (await on(server, `fetch('http://127.0.0.1:${PORT}/api/tuners').then((r) => r.text()).then(console.log)`))
        .devices[0].tuners;

    const kodi = startKodi(client, homeOfNobody());
    await eventually(
      () => rpc(client, 'Addons.SetAddonEnabled', { addonid: 'pvr.hdhomerun', enabled: true }),
      patienceMs(100_000),
    ).catch((error) => {
      throw new Error(`Kodi does not answer; it said:\n${kodi.output}`, { cause: error });
    });
    const channels: Json[] = await eventually(async () => {
      const { channels } = await rpc(client, 'PVR.GetChannels', { channelgroupid: 'alltv' });
      expect(channels).toHaveLength(3);
      return channels;
    }, patienceMs(100_000));
    expect(channels.map(({ label }) => label)).toEqual(['Harbour News', 'Granite Sport', 'Evening Film']);

    await rpc(client, 'Player.Open', { item: { channelid: channels[0].channelid } });
    const labels = ['VideoPlayer.VideoCodec', 'VideoPlayer.AudioCodec'];
    await eventually(async () => {
      const codecs = await rpc(client, 'XBMC.GetInfoLabels', { labels });
      expect(Object.values(codecs).sort()).toEqual(['aac', 'h264']);
    }, patienceMs(30_000));
    const busy = (await tuners()).filter(({ inUse }: Json) => inUse);
    expect(busy).toMatchObject([{ channelNumber: '5.1' }]);

    await rpc(client, 'Player.Stop', { playerid: 1 });
    // Its player reads on for about ten seconds before it ends.
    await eventually(async () => expect(await rpc(client, 'Player.GetActivePlayers')).toEqual([]), patienceMs(60_000));
    await eventually(
      async () => expect((await tuners()).filter(({ inUse }: Json) => inUse)).toEqual([]),
      promisedMs(2_000),
    );
  }, 300_000);
});
