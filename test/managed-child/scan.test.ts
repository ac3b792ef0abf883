import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { scan, scanProcesses } from '../../src/managed-child/scan.ts';

test('a process whose parent shows no mark is a stranger, unless that is older than the mark: then it has adopted it', async () => {
  const parent = spawn('sh', ['-c', 'TEST_MARK=scan sleep 300 > /dev/null & echo $!; wait']);
  const pid = Number((await once(parent.stdout, 'data'))[0]);
  const markIn = (environ: string) => /(?:^|\0)TEST_MARK=(\w+)/.exec(environ)?.[1];
  const find = (isOlder: boolean) =>
    [...scan(markIn, { groups: new Set(), isOlder: (of) => of.pid === parent.pid && isOlder })].filter(Boolean);
  try {
    expect(find(false)).toEqual([]);
    expect(find(true)).toMatchObject([{ pid, mark: 'scan' }]);
  } finally {
    process.kill(pid, 'SIGKILL');
    await once(parent, 'exit');
  }
});

test.each([
  ['a file that covers it', '/proc/sys/kernel/ns_last_pid', 'fuse.lxcfs', [1, 2]],
  ['a directory that covers it', '/proc/sys', 'fuse', [1, 2]],
  ['its own file system, mounted to be read only', '/proc/sys', 'proc', [1]],
])('who was started last is told by the kernel alone: %s', (_, place, type, expected) => {
  const mountinfo = `22 27 0:21 / /proc rw,relatime - proc proc rw
30 22 0:40 / /proc/loadavg rw master:1 - fuse.lxcfs lxcfs rw
31 22 0:41 / ${place} ro - ${type} none rw`;
  const lists = [[1], [2, 1], [2, 1]];
  const reader = {
    read: (path: string) => (path === '/proc/self/mountinfo' ? mountinfo : '5\n'),
    numbersIn: () => lists.shift() ?? [2, 1],
    statOf: () => undefined,
    environOf: () => undefined,
  };
  const lookedAt: number[] = [];
  const examiner = () => (pid: number) => {
    lookedAt.push(pid);
    return { isUnclear: false, found: undefined };
  };
  const scanned = scanProcesses({ reader, examiner }, () => undefined, { self: 1, groups: new Set() });
  for (const found of scanned) expect(found).toBeUndefined();
  expect(lookedAt).toEqual(expected);
});
