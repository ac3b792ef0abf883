import { read } from './proc.ts';

/** A place where a hierarchy of cgroups, or a part of it, can be seen. */
export interface CgroupMount {
  /** The cgroup that is seen there. */
  readonly root: string;
  readonly directory: string;
}

/**
 * A machine may have cgroups of version 1 at `/sys/fs/cgroup`, and version 2 at `unified` below it.
 *
 * @param controller of version 1, which has a hierarchy for each
 */
export function cgroupMounts(version: 2): CgroupMount[];
export function cgroupMounts(version: 1, controller: string): CgroupMount[];
export function cgroupMounts(version: 1 | 2, controller?: string): CgroupMount[] {
  const lines = read('/proc/self/mountinfo')?.split('\n') ?? [];
  return lines.flatMap((line) => {
    const [mount = '', origin = ''] = line.split(' - ');
    const [type, , options = ''] = origin.split(' ');
    const isWanted =
      version === 2 ? type === 'cgroup2' : type === 'cgroup' && options.split(',').includes(controller ?? '');
    const [, , , root = '', directory = ''] = mount.split(' ').map(unescapeField);
    return isWanted ? [{ root, directory }] : [];
  });
}

/** `mountinfo` writes a blank as `\\040`. */
function unescapeField(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}
