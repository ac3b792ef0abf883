import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../support/temporary.ts';
import { nixInstantiate } from './nix.ts';
import { complaints, systemdProgram, systemRoot } from './systemd.ts';

const folder = new URL('../../examples/deploy/', import.meta.url).pathname;
const text = readFileSync(join(folder, 'README.md'), 'utf8');
const analyze = await systemdProgram('systemd-analyze');
const nix = await nixInstantiate();

/** The code of a kind that the page shows. */
function blocks(kind: string): string[] {
  const found = [...text.matchAll(/^( *)```(\w+)\n([\s\S]*?)^\1```/gm)].filter(([, , each]) => each === kind);
  return found.map(([, indent = '', , code = '']) => code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''));
}

test('every command of the page can be read by a shell, and every file that it installs is there', () => {
  const commands = blocks('sh').join('\n');
  execFileSync('sh', ['-n', '-c', commands]);
  const files = [...commands.matchAll(/^install .*$/gm)].flatMap(([line]) => line.split(' ').slice(1, -1));
  const named = files.filter((word) => /^[a-z].*\.(service|conf|env)$/.test(word));
  expect(named.length).toBeGreaterThanOrEqual(5);
  for (const name of named) expect([name, existsSync(join(folder, name))]).toEqual([name, true]);
});

test.skipIf(!analyze)('systemd has nothing to say against the drop-ins of the page', async () => {
  const dropIns = blocks('ini');
  expect(dropIns.length).toBe(5);
  const name = 'holdfast-archive@.service';
  for (const dropIn of dropIns) {
    const root = temporaryDirectory();
    systemRoot(root, analyze as NonNullable<typeof analyze>, ['/usr/bin/node']);
    const place = join(root, 'etc/systemd/system', `${name}.d`);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, 'override.conf'), dropIn);
    const unit = readFileSync(join(folder, name), 'utf8');
    expect(await complaints(analyze as NonNullable<typeof analyze>, root, name, unit)).toBe('');
  }
});

test.skipIf(!nix)('the NixOS configuration of the page is one that the module takes', async () => {
  const directory = temporaryDirectory();
  const [code = ''] = blocks('nix');
  writeFileSync(join(directory, 'configuration.nix'), code);
  const evaluator = new URL('evaluate-module.nix', import.meta.url).pathname;
  const expression = `
    let
      pkgs = { ffmpeg = "/nix/store/ffmpeg"; callPackage = _: _: "/nix/store/holdfast"; };
      settings = builtins.toJSON (import ${directory}/configuration.nix { inherit pkgs; }).services.holdfast;
    in
    (import ${evaluator} { module = ${folder}nixos-module.nix; inherit settings; }).systemd.services`;
  const services = await nix?.(directory, ['--eval', '--strict', '--json', '--expr', expression]);
  const names = Object.keys(JSON.parse(services as string)).sort();
  expect(names).toEqual(['holdfast-publisher', 'holdfast-run-news', 'holdfast-run-studio']);
});
