// One of many that fight for a few sources, until it is killed.
import { writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { ManagedChild, SourceLock } from 'holdfast';
import { Journal } from './journal.ts';
import { Referee } from './referee.ts';

const [dir = '', number = '', backend = '', exclusion = ''] = process.argv.slice(2);
const SOURCES = 4;
/** So that the cores are not always busy; a lock by a program takes much more of them. */
const PAUSE_MS = backend === 'flock' ? 300 : 40;
/** Some do nothing but wait, to see how long one can be passed over. */
const isPatient = Number(number) % 8 === 0;

const journal = new Journal(join(dir, 'journal'));
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const any = (count: number) => Math.floor(Math.random() * count);

let shallBlock = false;
process.on('SIGUSR2', () => {
  shallBlock = true;
});

function block(id: string): void {
  shallBlock = false;
  journal.tell({ what: 'blocking', id });
  const end = performance.now() + 15_000 + any(5_000);
  while (performance.now() < end) {}
  journal.tell({ what: 'unblocked', id });
}

/** Most of those killed from outside have no lock at that time. */
function die(): void {
  journal.tell({ what: 'killing', process: Number(number) });
  process.kill(process.pid, 'SIGKILL');
}

/** What is done with the source: mostly nothing for a few ms. */
async function use(id: string, name: string, lock?: SourceLock): Promise<void> {
  const referee = await Referee.enter(join(dir, `${name}.referee`));
  if (referee instanceof Referee) {
    let child = lock && any(8) === 0 ? await tie(id, lock, referee) : undefined;
    await pause(1 + any(8));
    if (shallBlock) block(id);
    if (any(30) === 0) die();
    if (child && any(2) === 0) child = await end(child);
    referee.leave();
    journal.tell({ what: 'releasing', id });
    // The time for which this process is stopped counts.
    const released = lock?.release({ timeoutMs: 60_000 });
    if (child) await end(child);
    await released;
  } else {
    journal.tell({ what: 'double', id, by: referee.by });
    journal.tell({ what: 'releasing', id });
    await lock?.release();
  }
  journal.tell({ what: 'released', id });
}

/** A child that does not go when it is asked to: its guard takes a while to end it when this process is killed. */
async function tie(id: string, lock: SourceLock, referee: Referee): Promise<ManagedChild> {
  journal.tell({ what: 'tying', id });
  const options = { holds: [lock, referee], graceMs: 250, stdout: 'ignore', stderr: 'ignore' } as const;
  const child = await ManagedChild.spawn('sh', ['-c', "trap '' TERM; exec sleep 4"], options);
  journal.tell({ what: 'tied', id, child: child.pid });
  referee.handOver(child.pid);
  return child;
}

async function end(child: ManagedChild): Promise<undefined> {
  try {
    process.kill(child.pid, 'SIGKILL');
  } catch {
    // it has ended by itself while this process was stopped
  }
  await child.closed;
}

async function attempt(id: string): Promise<void> {
  const name = `tuner${any(SOURCES)}`;
  const timeoutMs = isPatient ? 60_000 : any(5) < 2 ? 20 + any(180) : 0;
  journal.tell({ what: 'calling', id, key: name, timeoutMs });
  if (exclusion === 'off') {
    journal.tell({ what: 'acquired', id, fence: '0' });
    return use(id, name);
  }
  const answer = await SourceLock.tryAcquire(`hdhomerun:1234ABC2/${name}`, {
    dir: join(dir, 'locks'),
    backend: backend as 'auto' | 'kernel' | 'flock',
    timeoutMs,
    command: id,
    onWarning: (warning) => {
      if (warning.code === 'DEAD_HOLDER') journal.tell({ what: 'warned', id, of: warning.holder });
    },
  });
  if (!answer.acquired) return journal.tell({ what: 'refused', id, holder: answer.holder });
  journal.tell({ what: 'acquired', id, fence: String(answer.lock.fence) });
  return use(id, name, answer.lock);
}

journal.tell({ what: 'started', process: Number(number), pid: process.pid });
flushCompileCache(); // it will not come to its end
writeSync(1, 'ready\n');
for (let count = 0; ; count++) {
  const id = `${number}.${count}`;
  await attempt(id).catch((error) => journal.tell({ what: 'failed', id, error: String(error?.stack ?? error) }));
  await pause(any(PAUSE_MS));
}
