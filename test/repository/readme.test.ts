import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/ffmpeg.ts';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { startProgram } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const repository = new URL('../../', import.meta.url).pathname;
const text = readFileSync(join(repository, 'README.md'), 'utf8');
const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code as string);

let simulator: HdhomerunSimulator;
beforeAll(async () => {
  simulator = await HdhomerunSimulator.start({});
});
afterAll(() => simulator[Symbol.asyncDispose]());

test('the README has programs', () => {
  expect(blocks.length).toBeGreaterThanOrEqual(3);
});

test('every program of the README compiles', () => {
  const directory = join(repository, 'test/repository');
  const files = blocks.map((code, index) => [`${directory}/.readme-${index}.ts`, code] as const);
  const config = `${directory}/.readme-tsconfig.json`;
  try {
    for (const [path, code] of files) writeFileSync(path, code);
    writeFileSync(
      config,
      JSON.stringify({ extends: '../../tsconfig.json', include: ['.readme-*.ts', '../../src/**/*.d.ts'] }),
    );
    const { stdout, status } = spawnSync('tsc', ['--noEmit', '-p', config], { encoding: 'utf8' });
    expect(stdout).toBe('');
    expect(status).toBe(0);
  } finally {
    for (const path of [...files.map(([file]) => file), config]) rmSync(path, { force: true });
  }
});

describe.each(blocks.map((code, index) => [index, code] as const))('program %i of the README', (_, code) => {
  test('runs, with the simulated tuner for the one it names', async () => {
    const port = await freePort();
    const program = code
      .replaceAll('http://192.168.1.20:5004/auto/v5.1', simulator.streamUrl('5.1'))
      .replaceAll('8080', String(port));
    const ffmpeg = dirname(findFfmpeg());
    const running = startProgram(program, {
      PATH: `${ffmpeg}:${process.env.PATH}`,
      HOLDFAST_LOCK_DIR: temporaryDirectory(),
    });
    try {
      if (program.includes('.listen(')) await eventually(() => expectTransportStream(port), 15_000);
      else expect(await running.exit, running.output()).toBe(0);
    } finally {
      await running.kill();
    }
  });
});

/** The first byte of a packet, 188 apart. */
async function expectTransportStream(port: number): Promise<void> {
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    get({ port, host: '127.0.0.1' }, (response) => {
      response.once('data', (chunk) => {
        resolve(chunk);
        response.destroy();
      });
      response.once('end', () => reject(new Error(`status ${response.statusCode}`)));
    }).once('error', reject);
  });
  expect([bytes[0], bytes[188]]).toEqual([0x47, 0x47]);
}
