import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DebianProgram, debianProgram } from '../support/debian.ts';

const run = promisify(execFile);

/** Runs `nix-instantiate` in a directory of its own, without a store. */
export type NixInstantiate = (directory: string, args: readonly string[]) => Promise<string>;

export async function nixInstantiate(): Promise<NixInstantiate | undefined> {
  const program = await debianProgram('nix-instantiate', await missingPackages());
  if (!program) return undefined;
  return async (directory, args) => {
    const { stdout } = await run(program.path, ['--store', 'dummy://', ...args], { env: within(directory, program) });
    return stdout;
  };
}

/** What this machine lacks for it: nix itself and libraries. A plain download would leave those out. */
async function missingPackages(): Promise<string[]> {
  const simulate = () => run('apt-get', ['install', '--simulate', '--no-install-recommends', 'nix-bin']);
  try {
    const { stdout } = await simulate().catch(() => run('apt-get', ['update']).then(simulate));
    const lines = [...stdout.matchAll(/^Inst (\S+) \(/gm)].map(([, name]) => name as string);
    return lines.filter((name) => !name.endsWith('-perl'));
  } catch {
    return ['nix-bin'];
  }
}

function within(directory: string, { env, path }: DebianProgram): NodeJS.ProcessEnv {
  const folders = ['STORE', 'STATE', 'CONF', 'LOG', 'DATA'].map((name) => [`NIX_${name}_DIR`, join(directory, name)]);
  mkdirSync(join(directory, 'CONF'), { recursive: true });
  writeFileSync(join(directory, 'CONF', 'nix.conf'), 'build-users-group =\n');
  // Debian keeps nix's own libraries in a folder that only an installed program finds.
  const libraries = [env.LD_LIBRARY_PATH, join(path, '../../lib/nix')].filter(Boolean).join(':');
  return { ...env, ...Object.fromEntries(folders), HOME: directory, LD_LIBRARY_PATH: libraries };
}
