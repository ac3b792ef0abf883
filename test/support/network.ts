import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { eventually } from './eventually.ts';

/** A host of a test's own network: nothing of it reaches any other, or is reached. */
export interface TestHost {
  readonly address: string;
  /** Runs a program on it: what stands before the program. */
  readonly wrapper: readonly string[];
  /** For `startProgram`. */
  readonly env: NodeJS.ProcessEnv;
}

export interface TestNetwork {
  readonly hosts: readonly [TestHost, TestHost];
  end(): Promise<void>;
}

/** Two hosts and a cable between them, each in a network namespace. Needs root, as `hasNamespaces` tells. */
export async function testNetwork(): Promise<TestNetwork> {
  const keepers = [1, 2].map(() => spawn('unshare', ['--net', 'sleep', '300'], { stdio: 'ignore' }));
  const end = async () => {
    await Promise.all(keepers.map(ended));
  };
  try {
    const pids = keepers.map(({ pid }) => pid as number) as [number, number];
    for (const pid of pids) await eventually(() => checkIsApart(pid));
    inside(pids[0], `ip link add cable type veth peer name cable netns ${pids[1]}`);
    const hosts = pids.map((pid, index) => hostOf(pid, `10.99.0.${index + 1}`)) as [TestHost, TestHost];
    for (const pid of pids) await eventually(() => checkIsUp(pid));
    return { hosts, end };
  } catch (error) {
    await end();
    throw error;
  }
}

function checkIsApart(pid: number): void {
  const network = (of: number | 'self') => readlinkSync(`/proc/${of}/ns/net`);
  if (network(pid) === network('self')) throw new Error('it has no network of its own yet');
}

function hostOf(pid: number, address: string): TestHost {
  inside(pid, `ip link set lo up; ip addr add ${address}/24 brd + dev cable; ip link set cable up`);
  return { address, wrapper: wrapperOf(pid), env: { TEST_NETWORK_OF: String(pid) } };
}

function wrapperOf(pid: number): string[] {
  return ['nsenter', '--target', String(pid), '--net'];
}

/** The kernel takes a moment for it; until then programs don't see the network. */
function checkIsUp(pid: number): void {
  const link = inside(pid, 'ip -oneline link show cable');
  if (!/LOWER_UP.* state UP /.test(link)) throw new Error(`the cable is not up yet: ${link}`);
}

function inside(pid: number, script: string): string {
  const [program = '', ...args] = wrapperOf(pid);
  return execFileSync(program, [...args, 'sh', '-ec', script], { stdio: 'pipe', encoding: 'utf8' });
}

async function ended(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
