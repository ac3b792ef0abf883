import { spawnSync } from 'node:child_process';

/** The number of the system call that ends one thread alone: of a main thread, which leaves the others running. */
export const exitCall: number | undefined = { x64: 60, arm64: 93 }[process.arch as string];
/** Perl can call it. */
export const hasPerlThreads: boolean = spawnSync('perl', ['-Mthreads', '-e', '']).status === 0;
