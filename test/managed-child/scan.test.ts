import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { scan } from '../../src/managed-child/scan.ts';

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
