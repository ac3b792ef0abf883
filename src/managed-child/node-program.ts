import { parseStat } from '../internal/proc.ts';
import { bury } from './burial.ts';
import { procReader } from './proc-reader.ts';
import { examiner, scanProcesses, sequenceIn } from './scan.ts';

/**
 * What a program begins with that another Node runs by its text. A compiler may have marked its functions with a helper of its
 * own (`keepNames`), which the text needs too.
 */
export const PROGRAM_HEAD = `const __name = (named) => named;
const after = (ms, callback) => {
  const timer = setTimeout(callback, ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
};
`;

/** The same with `bury` and its `tools`. An owner above may ask all that is in its cgroup to end, which is not for these. */
export const BURYING_HEAD: string = `${PROGRAM_HEAD}
const { readFileSync, readdirSync } = require('node:fs');
const parseStat = ${parseStat};
const procReader = ${procReader};
const examiner = ${examiner};
const scanProcesses = ${scanProcesses};
const sequenceIn = ${sequenceIn};
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {});
const reader = procReader({ readFileSync, readdirSync, parseStat });
const now = () => Number(process.hrtime.bigint()) / 1e6;
const tools = { reader, examiner, scanProcesses, sequenceIn, process, now };
const bury = ${bury};
`;

/** The undertaker, which the guard runs by Node when the owner is gone; its arguments are those of {@link bury}. */
export const UNDERTAKER: string = `${BURYING_HEAD}
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
for (const ms of bury(tools, process.argv.slice(1))) if (ms > 0) sleep(ms);
`;
