import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { PacketReader, ProgramTables, packetAt } from '../../examples/mpeg-ts/index.ts';

/** The codecs of what the real ffmpeg makes of a picture and of sound: of all streams, and of those that players show. */
function codecsOf(args: readonly string[]): { all: (string | undefined)[]; shown: readonly string[] } {
  const input = [
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=160x120:rate=10:duration=1',
    '-f',
    'lavfi',
    '-i',
    'sine=duration=1',
  ];
  const bytes = execFileSync(findFfmpeg(), ['-v', 'error', ...input, ...args, '-f', 'mpegts', 'pipe:1']);
  const tables = new ProgramTables();
  new PacketReader().read(bytes, (packets, at) => {
    const packet = packetAt(packets, at);
    if (packet && tables.has(packet.pid)) tables.read(packet, at);
  });
  const all = tables.programs.flatMap(({ streams }) => Array.from(streams.values(), ({ codec }) => codec));
  return { all, shown: tables.codecs };
}

const DVB = ['-mpegts_flags', 'system_b'];

test.each([
  [
    ['-c:v', 'mpeg2video', '-c:a', 'mp2'],
    ['MPEG-2 video', 'MPEG audio'],
  ],
  [
    ['-c:v', 'libx264', '-c:a', 'aac'],
    ['H.264', 'AAC'],
  ],
  [
    ['-c:v', 'libx264', '-c:a', 'ac3'],
    ['H.264', 'AC-3'],
  ],
  [
    ['-c:v', 'libx264', '-c:a', 'ac3', ...DVB],
    ['H.264', 'AC-3'],
  ],
  [
    ['-c:v', 'libx264', '-c:a', 'eac3', ...DVB],
    ['H.264', 'E-AC-3'],
  ],
  [
    ['-c:v', 'libx264', '-c:a', 'libopus', '-strict', '-2'],
    ['H.264', 'Opus'],
  ],
  [['-vn', '-map', '1:a', '-c:a', 'aac'], ['AAC']],
])('the map table of %j tells %j', (args, codecs) => {
  expect(codecsOf(args)).toEqual({ all: codecs, shown: codecs });
});

test('of several sounds the first is what players show', () => {
  const maps = ['-map', '1:a', '-map', '0:v', '-map', '1:a', '-c:a:0', 'ac3', '-c:v', 'libx264', '-c:a:1', 'aac'];
  expect(codecsOf(maps)).toEqual({ all: ['AC-3', 'H.264', 'AAC'], shown: ['H.264', 'AC-3'] });
  expect(new ProgramTables().codecs).toEqual([]);
});
