import { execFile } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type DebianProgram, debianProgram } from '../support/debian.ts';

const run = promisify(execFile);

/** The programs of systemd that look at files; none needs it to be running. */
export async function systemdProgram(name: string): Promise<DebianProgram | undefined> {
  const program = await debianProgram(name, ['systemd', 'libsystemd-shared']);
  if (!program || program.env.LD_LIBRARY_PATH === process.env.LD_LIBRARY_PATH) return program;
  const libraries = program.env.LD_LIBRARY_PATH as string;
  const own = libraries.split(':').map((folder) => join(folder, 'systemd'));
  return { ...program, env: { ...program.env, LD_LIBRARY_PATH: [libraries, ...own].join(':') } };
}

/** A file system of its own, with the units that systemd brings, in which each of these programs exists. */
export function systemRoot(root: string, { path }: DebianProgram, programs: readonly string[]): void {
  const shipped = ['usr/lib', 'lib'].map((folder) => join(dirname(path), '../..', folder, 'systemd/system'));
  cpSync(shipped.find(existsSync) as string, join(root, 'usr/lib/systemd/system'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  for (const program of programs) {
    mkdirSync(join(root, dirname(program)), { recursive: true });
    writeFileSync(join(root, program), '#!/bin/sh\n');
    chmodSync(join(root, program), 0o755);
  }
}

/** All that `systemd-analyze verify` has to say of a unit: an unknown setting is only a warning to it. */
export async function complaints(analyze: DebianProgram, root: string, name: string, text: string): Promise<string> {
  const folder = join(root, 'etc/systemd/system');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), text);
  const instance = name.replace('@.', '@studio.');
  const { stdout, stderr } = await run(analyze.path, ['verify', `--root=${root}`, instance], {
    env: analyze.env,
  }).catch((error) => error);
  return `${stdout}${stderr}`.replaceAll(root, '');
}

/** The settings of the section `[Service]`; one that is given several times has several values. */
export function serviceSettings(text: string): Record<string, string[]> {
  const section = /^\[Service\]\n([\s\S]*?)(?=^\[|$(?![\s\S]))/m.exec(text)?.[1] ?? '';
  const settings: Record<string, string[]> = {};
  for (const [, name = '', value = ''] of section.matchAll(/^(\w+)=(.*)$/gm)) {
    settings[name] = [...(settings[name] ?? []), value];
  }
  return settings;
}
