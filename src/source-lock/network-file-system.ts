import { readFileSync, realpathSync, statfsSync } from 'node:fs';

/** `f_type` of statfs(2), from Linux' `magic.h` and the file systems' own headers. */
const NETWORK = new Map<number, string>([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xfe534d42, 'SMB2'],
  [0xff534d42, 'CIFS'],
  [0x564c, 'NCP'],
  [0x73757245, 'Coda'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'AFS'],
  [0x00c36400, 'Ceph'],
  [0x01021997, '9P'],
  [0x0bd00bd0, 'Lustre'],
  [0x0bd00bd3, 'Lustre'],
  [0x47504653, 'GPFS'],
  [0x19830326, 'BeeGFS'],
  [0x01161970, 'GFS2'],
  [0x7461636f, 'OCFS2'],
  [0x20030528, 'OrangeFS'],
  [0xaad7aaea, 'PanFS'],
]);

const FUSE = 0x65735546;

/** FUSE may be anything; these keep their files on this host. `virtiofs` is a virtual machine's folder of its host. */
const LOCAL_FUSE =
  /^(fuseblk|virtiofs|fuse\.(fuse-overlayfs|mergerfs|bindfs|gocryptfs|encfs|cryfs|ntfs-3g|ntfs|exfat|lxcfs|squashfuse|unionfs|portal))$/;

/** The name of the network file system that a directory is on, where kernel locks may be per host; undefined if on none. */
export function networkFileSystem(directory: string): string | undefined {
  // The number has 32 bits; some systems extend its sign.
  const type = statfsSync(directory).type >>> 0;
  return nameOfFileSystem(type, () => typeOfMount(realpathSync(directory)));
}

/** @param mountType what mountinfo says of it, `fuse.sshfs` */
export function nameOfFileSystem(type: number, mountType: () => string | undefined): string | undefined {
  if (type !== FUSE) return NETWORK.get(type);
  const name = mountType() ?? 'FUSE';
  return LOCAL_FUSE.test(name) ? undefined : name;
}

/** The type of the mount that a directory is in: the longest mount point above it, the last of those mounted over it. */
function typeOfMount(directory: string): string | undefined {
  let best: { point: string; type: string } | undefined;
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const point = (before.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const isAbove = point !== '' && `${directory}/`.startsWith(point === '/' ? '/' : `${point}/`);
    if (isAbove && point.length >= (best?.point.length ?? 0)) best = { point, type: after.split(' ')[0] ?? '' };
  }
  return best?.type;
}
