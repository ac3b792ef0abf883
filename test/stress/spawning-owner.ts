// Starts children one after the other for as long as it lives, at most for 10 s; says so at the first one.
import { ManagedChild } from 'holdfast';

const programs: [string, string[]][] = [
  ['sleep', ['30']],
  ['sh', ['-c', 'setsid sleep 30 & exec sleep 30']],
  ['sh', ['-c', `setsid sh -c 'sleep 30 &'; exec sleep 30`]],
];
const options = { containment: 'group', graceMs: 0, stdout: 'ignore', stderr: 'ignore' } as const;
const end = performance.now() + 10_000;
for (let count = 0; performance.now() < end; count++) {
  const [command, args] = programs[count % programs.length] as [string, string[]];
  await ManagedChild.spawn(command, args, options);
  if (count === 0) console.log('spawning');
}
