import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { loadConfig } from '../../examples/publisher/config/config.ts';
import { parseFlags } from '../../examples/publisher/config/flags.ts';
import { unknownVariables } from '../../examples/publisher/config/layer.ts';
import { PublisherProcess } from '../publisher/support.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const run = promisify(execFile);
const text = readFileSync(new URL('../../examples/deploy/Containerfile', import.meta.url), 'utf8');

/** What is to be done, each with its instruction, continued lines joined. */
const steps = text
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => /^([A-Z]+) +(.*)$/.exec(line.replaceAll(/ +/g, ' '))?.slice(1) as [string, string]);
const of = (instruction: string) => steps.filter(([name]) => name === instruction).map(([, rest]) => rest);
const environment = Object.fromEntries(
  of('ENV').flatMap((line) => line.split(' ').map((pair) => pair.split('=') as [string, string])),
);

test('the container file has only instructions that there are, and begins with an image', () => {
  const known = ['FROM', 'RUN', 'ARG', 'ENV', 'USER', 'VOLUME', 'EXPOSE', 'STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT'];
  expect(steps.map(([name]) => name).filter((name) => !known.includes(name))).toEqual([]);
  expect(steps[0]).toEqual(['FROM', 'docker.io/library/node:24-bookworm-slim']);
});

test('a shell can read every step, and the container runs as a user without rights', async () => {
  for (const step of of('RUN')) await run('sh', ['-n', '-c', step]);
  expect(of('USER')).toEqual(['node']);
  expect(of('STOPSIGNAL')).toEqual(['SIGTERM']);
  expect(JSON.parse(of('ENTRYPOINT')[0] ?? '')).toEqual(['holdfast-publisher']);
});

test('its version is that of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  expect(of('ARG')).toEqual([`HOLDFAST_VERSION=${version}`]);
});

test('its variables are options of the publisher, and its ports are those', () => {
  expect(unknownVariables(environment)).toEqual([]);
  const config = loadConfig(parseFlags([]), environment);
  expect(config).toMatchObject({ bind: '0.0.0.0', log: 'json', stateDir: '/var/lib/holdfast' });
  expect(of('EXPOSE')[0]).toBe(`${config.port}/tcp ${config.discoveryPort}/tcp ${config.discoveryPort}/udp 1900/udp`);
  expect(JSON.parse(of('VOLUME')[0] ?? '')).toEqual([config.stateDir]);
});

test('its health check tells a publisher that lives from one that does not', async () => {
  const [, json = ''] = /CMD (\[.*\])$/.exec(of('HEALTHCHECK')[0] ?? '') ?? [];
  const [program, ...args] = JSON.parse(json) as [string, ...string[]];
  expect(program).toBe('node');
  const check = (port: string) => {
    const env = { ...process.env, HOLDFAST_PUBLISHER_PORT: port };
    return run(process.execPath, args, { env }).then(
      () => 0,
      ({ code }) => code,
    );
  };
  const publisher = await PublisherProcess.start(['--lock-dir', temporaryDirectory(), '--source', 'a=/nowhere.ts']);
  const { port } = new URL(publisher.url);
  expect(await check(port)).toBe(0);
  await publisher[Symbol.asyncDispose]();
  expect(await check(port)).toBe(1);
});
