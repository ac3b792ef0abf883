import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { hasNamespaces, withMounts } from '../support/namespace.ts';
import { isRunning } from '../support/processes.ts';
import { RemoteLock } from '../support/remote-lock.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const isPossible = hasNamespaces();
if (isPossible) process.env.NODE_COMPILE_CACHE = temporaryDirectory(afterAll);

const source = 'http://192.168.1.20:5004/auto/v5.1';

/**
 * What of a unit's hardening can be had without systemd: mounts of its own with all read-only but the shared directory
 * (`ProtectSystem=strict`, `RuntimeDirectory=`), no capability, none to be gained, and `UMask=`.
 */
function confined(shared: string): string[] {
  const script = `
    mount -t tmpfs tmpfs /run && mkdir /run/holdfast && mount --bind '${shared}' /run/holdfast
    for each in / /tmp; do mount -o remount,bind,ro "$each" 2> /dev/null || [ "$each" = /tmp ]; done
    umask 0007
    if [ -w / ]; then exit 1; fi
  `;
  return [...withMounts(script), 'setpriv', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all'];
}

async function unit(shared: string): Promise<RemoteLock> {
  const env = { HOLDFAST_LOCK_DIR: '/run/holdfast/locks' };
  const started = await RemoteLock.start({ source, options: {} }, { wrapper: confined(shared), env });
  onTestFinished(() => started.kill());
  return started;
}

describe.skipIf(!isPossible)('two processes as confined as the units', () => {
  test('exclude each other by the shared directory, and the refusal names the holder', async () => {
    const shared = temporaryDirectory();
    const [one, other] = [await unit(shared), await unit(shared)];
    expect(await one.acquire()).toMatchObject({ acquired: true });
    const refused = await other.acquire();
    expect(refused).toMatchObject({ name: 'SourceBusyError', holder: { pid: one.pid, verified: 'kernel+meta' } });
    await one.kill();
    expect(await eventually(() => other.acquire())).toMatchObject({ acquired: true, reclaimedFrom: { pid: one.pid } });
    expect(isRunning(one.pid)).toBe(false);
  });
});
