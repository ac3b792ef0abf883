import { chmodSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { renderText } from '../../examples/hdhomerun/bitmap-font.ts';
import { findFfmpeg, findFfprobe, ProgramNotFoundError } from '../../examples/hdhomerun/index.ts';
import { temporaryDirectory } from '../support/temporary.ts';

function fakeProgram(name: string, mode: number): string {
  const folder = temporaryDirectory();
  writeFileSync(`${folder}/${name}`, '#!/bin/sh\n');
  chmodSync(`${folder}/${name}`, mode);
  return folder;
}

test('FFMPEG_PATH goes before the PATH, the PATH before the npm package', () => {
  const [named, onPath] = [fakeProgram('my-ffmpeg', 0o755), fakeProgram('ffmpeg', 0o755)];
  expect(findFfmpeg({ env: { FFMPEG_PATH: `${named}/my-ffmpeg`, PATH: onPath } })).toBe(`${named}/my-ffmpeg`);
  expect(findFfmpeg({ env: { PATH: `/nonexistent:${onPath}` } })).toBe(`${onPath}/ffmpeg`);
  expect(findFfmpeg({ env: { PATH: '' } })).toMatch(/@ffmpeg-binary.linux-x64.ffmpeg$/);
  expect(findFfprobe({ env: {} })).toMatch(/@ffprobe-installer.linux-x64.ffprobe$/);
});

test('what FFMPEG_PATH names must exist and be executable; nothing else is taken instead', () => {
  const folder = fakeProgram('ffmpeg', 0o644);
  const find = (path: string) => () => findFfmpeg({ env: { ...process.env, FFMPEG_PATH: path } });
  expect(find('/nonexistent/ffmpeg')).toThrow('FFMPEG_PATH names /nonexistent/ffmpeg, which does not exist');
  expect(find(`${folder}/ffmpeg`)).toThrow(/no executable file for this user; chmod \+x it/);
  expect(find(folder)).toThrow(ProgramNotFoundError);
});

test('a file on the PATH that is not executable is passed over', () => {
  expect(findFfmpeg({ env: { PATH: fakeProgram('ffmpeg', 0o644) } })).toMatch(/@ffmpeg-binary/);
});

test('a name is drawn without a font file', () => {
  const [header, pixels] = [renderText('I!').subarray(0, 13), renderText('I!').subarray(13)];
  expect(header.toString()).toBe('P5\n15 11\n255\n');
  const rows = Array.from({ length: 11 }, (_, y) => pixels.subarray(y * 15, y * 15 + 15));
  expect(rows.map((row) => [...row].map((pixel) => (pixel ? '#' : '.')).join('')).join('\n')).toBe(
    [
      '...............',
      '...............',
      '...###...###...',
      '....#...#...#..',
      '....#.......#..',
      '....#......#...',
      '....#.....#....',
      '....#..........',
      '...###....#....',
      '...............',
      '...............',
    ].join('\n'),
  );
});
