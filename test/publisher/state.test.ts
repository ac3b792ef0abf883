import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { JsonFile } from '../../examples/publisher/state/json-file.ts';
import { stateDir } from '../../examples/publisher/state/state-directory.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const schema = z.strictObject({ count: z.int() });

function fileIn(dir: string) {
  const lines: string[] = [];
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
  return { file: new JsonFile(join(dir, 'kept', 'count.json'), schema, log), lines };
}

describe('the state directory', () => {
  it.each([
    ['as configured', { stateDir: '/mine' }, { STATE_DIRECTORY: '/s', XDG_STATE_HOME: '/x' }, '/mine'],
    ['what systemd says, of several the first', {}, { STATE_DIRECTORY: '/s:/t', XDG_STATE_HOME: '/x' }, '/s'],
    ['below XDG_STATE_HOME', {}, { XDG_STATE_HOME: '/x' }, '/x/holdfast-publisher'],
    ['below home', {}, {}, join(homedir(), '.local/state/holdfast-publisher')],
    [
      'below home if XDG_STATE_HOME is relative',
      {},
      { XDG_STATE_HOME: 'x' },
      join(homedir(), '.local/state/holdfast-publisher'),
    ],
    ['absolute, if it is configured as a relative path', { stateDir: 'mine' }, {}, join(process.cwd(), 'mine')],
  ])('is %s', (_, config, env, path) => {
    expect(stateDir(config, env)).toBe(path);
  });
});

describe('a file of the state', () => {
  it('holds what was written, for its owner only', async () => {
    const { file, lines } = fileIn(temporaryDirectory());
    expect(file.read()).toBeUndefined();
    await file.write({ count: 1 });
    expect(file.read()).toEqual({ count: 1 });
    expect(statSync(file.path).mode & 0o777).toBe(0o600);
    expect(lines).toEqual([]);
  });

  it('holds the last of many that were written at once, and no other file is left', async () => {
    const { file } = fileIn(temporaryDirectory());
    await Promise.all(Array.from({ length: 50 }, (_, count) => file.write({ count })));
    await file.settled();
    expect(file.read()).toEqual({ count: 49 });
    expect(readdirSync(join(file.path, '..'))).toEqual(['count.json']);
  });

  it.each([
    ['no JSON', '{"count":'],
    ['a value of another form', '{"count":"seven"}'],
    ['nothing', ''],
  ])('is reported and set aside with %s in it, and can be written again', async (_, content) => {
    const { file, lines } = fileIn(temporaryDirectory());
    mkdirSync(join(file.path, '..'));
    writeFileSync(file.path, content);
    expect(file.read()).toBeUndefined();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(`${file.path} can't be used: `);
    expect(lines[0]).toContain('it is now count.json.broken');
    expect(readFileSync(`${file.path}.broken`, 'utf8')).toBe(content);
    await file.write({ count: 2 });
    expect(file.read()).toEqual({ count: 2 });
  });

  it('that can not be read now is reported, stays as it is, and is not written over', async () => {
    const { file, lines } = fileIn(temporaryDirectory());
    mkdirSync(join(file.path, '..'));
    symlinkSync(file.path, file.path);
    expect(file.read()).toBeUndefined();
    expect(lines).toEqual([expect.stringMatching(/count\.json can't be read: ELOOP.*; it stays as it is/)]);
    await file.write({ count: 1 });
    expect(() => file.readStrictly()).toThrow(/count\.json can't be read: ELOOP/);
    expect(readdirSync(join(file.path, '..'))).toEqual(['count.json']);
  });

  it('that can not be written is reported once, and once more when it can', async () => {
    const dir = temporaryDirectory();
    const { file, lines } = fileIn(dir);
    writeFileSync(join(dir, 'kept'), 'a file where the directory should be');
    await file.write({ count: 1 });
    await file.write({ count: 2 });
    expect(lines).toEqual([expect.stringMatching(/can't be written: E.*; see --state-dir$/)]);
    const other = fileIn(temporaryDirectory());
    mkdirSync(other.file.path, { recursive: true });
    await other.file.write({ count: 1 });
    expect(readdirSync(join(other.file.path, '..'))).toEqual(['count.json']);
  });

  it('loses what writers left that died while they wrote, and of nobody else', () => {
    const { file } = fileIn(temporaryDirectory());
    mkdirSync(join(file.path, '..'));
    const ofTheDead = `${file.path}.999999999.tmp`;
    const ofTheLiving = `${file.path}.${process.ppid}.tmp`;
    for (const path of [ofTheDead, ofTheLiving, `${file.path}.tmp`]) writeFileSync(path, '');
    file.read();
    expect([ofTheDead, ofTheLiving, `${file.path}.tmp`].map(existsSync)).toEqual([false, true, true]);
  });
});
