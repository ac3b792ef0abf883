import { execFileSync, spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { mpegTsJoinPoint } from '../../examples/mpeg-ts/index.ts';
import { PACKET_BYTES } from '../../examples/mpeg-ts/packet.ts';

const GOP_SECONDS = 0.5;
const SECONDS = 3;

/** What the real ffmpeg makes: a group of pictures each half second. */
function encoded(...codec: readonly string[]): Buffer {
  const input = ['-f', 'lavfi', '-i', `testsrc2=size=320x180:rate=20:duration=${SECONDS}`];
  const sound = ['-f', 'lavfi', '-i', `sine=duration=${SECONDS}`, '-c:a', 'mp2'];
  const group = ['-g', '10', '-keyint_min', '10', '-sc_threshold', '0'];
  const args = ['-v', 'error', ...input, ...sound, ...codec, ...group, '-f', 'mpegts', 'pipe:1'];
  return execFileSync(findFfmpeg(), args, { maxBuffer: 64 * 1024 * 1024 });
}

/** Where one may begin, in bytes from the first, found in slices cut at these lengths in turn. */
function joinPoints(bytes: Buffer, lengths: readonly number[]): number[] {
  const joinPoint = mpegTsJoinPoint();
  const found: number[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const slice = bytes.subarray(at, at + (lengths[turn % lengths.length] as number));
    const offset = joinPoint(slice);
    if (offset !== undefined) found.push(at + offset);
    at += slice.length;
  }
  return found;
}

/** How many pictures the real ffmpeg decodes, and what it complains of. */
function decoded(bytes: Buffer, map = '0:v'): { pictures: number; complaints: string } {
  const args = [
    '-v',
    'warning',
    '-f',
    'mpegts',
    '-i',
    'pipe:0',
    '-map',
    map,
    '-fps_mode',
    'passthrough',
    '-f',
    'framehash',
    '-',
  ];
  const { stdout, stderr } = spawnSync(findFfmpeg(), args, { input: bytes, encoding: 'utf8' });
  return { pictures: stdout.split('\n').filter((line) => /^\d/.test(line)).length, complaints: stderr };
}

const PICTURES = SECONDS * 20;
const GROUPS = SECONDS / GOP_SECONDS;
const every = (bytes: Buffer) => joinPoints(bytes, [PACKET_BYTES]);

describe.each([
  ['MPEG-2', ['-c:v', 'mpeg2video', '-bf', '0']],
  ['H.264', ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '2']],
  ['HEVC', ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', 'log-level=none:open-gop=0']],
] as const)('of %s', (_, codec) => {
  const bytes = encoded(...codec);
  const points = every(bytes);

  test('there is one for each group of pictures, and from there on ffmpeg decodes all of them', () => {
    expect(points).toHaveLength(GROUPS);
    const begun = points.map((point) => decoded(bytes.subarray(point)));
    expect(begun.map(({ pictures }) => pictures)).toEqual(points.map((_, group) => PICTURES - group * 10));
    expect(begun.map(({ complaints }) => complaints).join('')).toBe('');
  });

  test('a begin anywhere else has fewer, or broken ones', () => {
    const { pictures, complaints } = decoded(bytes.subarray((points[1] as number) + 10 * PACKET_BYTES));
    expect(pictures <= PICTURES - 20 || complaints !== '').toBe(true);
  });

  test('they are found without the mark of their encoder, by what the picture begins with', () => {
    expect(every(withoutMarks(bytes))).toEqual(points);
  });

  test('however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 50 }), (lengths) => {
        expect(joinPoints(bytes, lengths)).toEqual(points);
      }),
      { numRuns: 30 },
    );
  });
});

/** No packet says that decoding can begin at it. */
function withoutMarks(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  for (let at = 0; at < copy.length; at += PACKET_BYTES) {
    const hasFlags = ((copy[at + 3] as number) & 0x20) !== 0 && (copy[at + 4] as number) > 0;
    if (hasFlags) copy[at + 5] = (copy[at + 5] as number) & ~0x40;
  }
  return copy;
}

describe('in a stream that', () => {
  const bytes = encoded('-c:v', 'mpeg2video', '-bf', '0');
  const points = every(bytes);

  test('is cut into large slices, the last of each is found', () => {
    const middle = Math.ceil(((points[2] as number) + 20 * PACKET_BYTES) / PACKET_BYTES) * PACKET_BYTES;
    expect(joinPoints(bytes, [middle, bytes.length])).toEqual([points[2], points.at(-1)]);
  });

  test('has only sound, any frame will do', () => {
    const args = ['-v', 'error', '-f', 'lavfi', '-i', 'sine=duration=2', '-c:a', 'mp2', '-f', 'mpegts', 'pipe:1'];
    const sound = execFileSync(findFfmpeg(), args);
    expect(every(sound).length).toBeGreaterThan(5);
  });

  test('begins in the middle of a packet, all are found where they are', () => {
    for (const cut of [1, 100, 187]) {
      expect(every(bytes.subarray(cut))).toEqual(points.map((point) => point - cut));
    }
  });

  test('has no tables, or no stream that they tell of, there is none', () => {
    const stream = (at: number) => bytes.readUInt16BE(at + 1) & 0x1fff;
    const packets = Array.from({ length: bytes.length / PACKET_BYTES }, (_, n) => n * PACKET_BYTES);
    const without = (pid: number) =>
      Buffer.concat(packets.filter((at) => stream(at) !== pid).map((at) => bytes.subarray(at, at + PACKET_BYTES)));
    expect(every(without(0))).toEqual([]);
    expect(every(without(0x1000))).toEqual([]);
  });

  test('is damaged in any way, it finds its way again, and never a begin that is none', () => {
    const damage = fc.record({
      at: fc.integer({ min: 0, max: bytes.length - 1 }),
      remove: fc.integer({ min: 0, max: 500 }),
      insert: fc.uint8Array({ maxLength: 500 }),
    });
    fc.assert(
      fc.property(fc.array(damage, { maxLength: 8 }), fc.integer({ min: 1, max: 5_000 }), (damages, length) => {
        let damaged = bytes;
        for (const { at, remove, insert } of damages) {
          damaged = Buffer.concat([damaged.subarray(0, at), insert, damaged.subarray(at + remove)]);
        }
        // A whole stream follows, and all of it is found.
        const all = Buffer.concat([damaged, bytes, bytes]);
        const found = joinPoints(all, [length]);
        for (const point of found) expect([all[point], all.readUInt16BE(point + 1) & 0x1fff]).toEqual([0x47, 0]);
        const last = points.map((point) => point + all.length - bytes.length);
        expect(found.filter((point) => point >= (last[0] as number))).toEqual(
          length < 3_000 ? last : expect.anything(),
        );
      }),
      { numRuns: 100 },
    );
  });

  test('is noise, there is none, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 1_000 })), (slices) => {
        const joinPoint = mpegTsJoinPoint();
        for (const slice of slices) expect(joinPoint(Buffer.from(slice))).toBeUndefined();
      }),
    );
  });
});

test.each([
  ['an association table that claims to be longer than its packet', 0x00],
  ['a map table that does', 0x02],
])('%s is read as far as it goes', (_, tableId) => {
  const packet = Buffer.alloc(PACKET_BYTES, 0xff);
  packet.set([0x47, 0x40, 0x00, 0x10, 0x00, tableId, 0xbf, 0xff]);
  expect(mpegTsJoinPoint()(packet)).toBeUndefined();
  packet[4] = 0xff;
  expect(mpegTsJoinPoint()(packet)).toBeUndefined();
});

/** A section: its table, what that is of, whether it counts already, and what follows. */
function section(tableId: number, id: number, isCurrent: boolean, content: readonly number[], number = 0): Buffer {
  const length = 5 + content.length + 4;
  const head = [tableId, 0xb0 | (length >> 8), length & 0xff, id >> 8, id & 0xff, 0xc0 | Number(isCurrent), number, 0];
  return Buffer.from([...head, ...content, ...checksumOf([...head, ...content])]);
}

/** Bit by bit, as ISO/IEC 13818-1 tells it in annex A. */
function checksumOf(bytes: readonly number[]): number[] {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      const isOdd = (crc >>> 31) ^ ((byte >> bit) & 1);
      crc = ((crc << 1) ^ (isOdd ? 0x04c1_1db7 : 0)) >>> 0;
    }
  }
  return [24, 16, 8, 0].map((shift) => (crc >>> shift) & 0xff);
}

/** The packets of sections that follow one another without a gap; of a PID one table must begin where the last ended. */
function packets(pid: number, sections: Buffer, first = 0): Buffer {
  const whole: Buffer[] = [];
  for (let at = 0; at < sections.length; at += whole.length === 1 ? 183 : 184) {
    const packet = Buffer.alloc(PACKET_BYTES, 0xff);
    const isFirst = at === 0;
    packet.set([0x47, (isFirst ? 0x40 : 0) | (pid >> 8), pid & 0xff, 0x10 | ((first + whole.length) & 0xf)]);
    if (isFirst) packet[4] = 0;
    packet.set(sections.subarray(at, at + (isFirst ? 183 : 184)), isFirst ? 5 : 4);
    whole.push(packet);
  }
  return Buffer.concat(whole);
}

const association = (pids: readonly number[], from = 1) =>
  pids.flatMap((pid, n) => [0, n + from, 0xe0 | (pid >> 8), pid & 0xff]);
const programs = (pids: readonly number[], isCurrent = true) =>
  packets(0, section(0x00, 1, isCurrent, association(pids)));
const stream = (type: number, pid: number) => [type, 0xe0 | (pid >> 8), pid & 0xff, 0xf0, 0];
const VIDEO = 0x1b;
const SOUND = 0x03;
const map = (number: number, streams: readonly number[], descriptors: readonly number[] = [], isCurrent = true) =>
  section(0x02, number, isCurrent, [0xe0, 0, 0xf0, descriptors.length, ...descriptors, ...streams]);
const program = (pid: number, number: number, videoPid: number, isCurrent = true) =>
  packets(pid, map(number, stream(VIDEO, videoPid), [], isCurrent));
/** A packet where decoding of a stream can begin. */
function picture(pid: number): Buffer {
  const packet = Buffer.alloc(PACKET_BYTES, 0xff);
  packet.set([0x47, 0x40 | (pid >> 8), pid & 0xff, 0x30, 1, 0x40]);
  return packet;
}

describe('of several programs', () => {
  test('each begins with its own tables', () => {
    const tables = [
      ...[programs([0x100, 0x200]), program(0x100, 1, 0x101)],
      ...[programs([0x100, 0x200]), program(0x200, 2, 0x201)],
    ];
    const found = (...pictures: number[]) => every(Buffer.concat([...tables, ...pictures.map(picture)]));
    expect(found(0x101)).toEqual([0]);
    expect(found(0x201)).toEqual([2 * PACKET_BYTES]);
    expect(found(0x301)).toEqual([]);
  });

  test('what an association table does not name any more is none', () => {
    const tables = [programs([0x100]), program(0x100, 1, 0x101), programs([0x200])];
    expect(every(Buffer.concat([...tables, picture(0x101)]))).toEqual([]);
  });

  test('the first that has pictures counts, and another when that has none any more', () => {
    const tables = Buffer.concat([programs([0x100, 0x200]), program(0x100, 1, 0x101), program(0x200, 2, 0x201)]);
    const found = (...pictures: number[]) =>
      every(Buffer.concat(pictures.map((pid) => Buffer.concat([tables, picture(pid)]))));
    const round = tables.length + PACKET_BYTES;
    expect(found(0x201, 0x201, 0x101, 0x201, 0x201, 0x101)).toEqual([0, 1, 2, 5].map((n) => n * round));
    const others = Array.from({ length: 10 }, () => 0x201);
    expect(found(0x101, ...others, 0x101)).toEqual([0, 9, 10, 11].map((n) => n * round));
  });

  test('where one has pictures, the sound of another is no begin', () => {
    const radio = packets(0x100, map(1, stream(SOUND, 0x101)));
    const tables = Buffer.concat([programs([0x100, 0x200]), radio, program(0x200, 2, 0x201)]);
    expect(every(Buffer.concat([tables, picture(0x101)]))).toEqual([]);
    expect(every(Buffer.concat([tables, picture(0x101), picture(0x201), picture(0x101)]))).toEqual([0]);
  });
});

describe('tables', () => {
  const pictured = (...tables: Buffer[]) => every(Buffer.concat([...tables, picture(0x101)]));
  const many = Array.from({ length: 60 }, (_, n) => 0x500 + n);

  test.each<[string, Buffer[]]>([
    ['an association table of two packets', [programs([...many, 0x100]), program(0x100, 61, 0x101)]],
    [
      'an association table of two sections, each in a packet',
      [
        packets(0, section(0x00, 1, true, association([0x100]))),
        packets(0, section(0x00, 1, true, association([0x200], 2), 1), 1),
        program(0x100, 1, 0x101),
      ],
    ],
    [
      'an association table of two sections in one packet',
      [
        packets(
          0,
          Buffer.concat([
            section(0x00, 1, true, association([0x200])),
            section(0x00, 1, true, association([0x100], 2), 1),
          ]),
        ),
        program(0x100, 2, 0x101),
      ],
    ],
    [
      'a map table of two packets, for its descriptors',
      [programs([0x100]), packets(0x100, map(1, stream(VIDEO, 0x101), Array(220).fill(9)))],
    ],
    [
      'two map tables in one packet',
      [
        programs([0x100, 0x100]),
        packets(0x100, Buffer.concat([map(1, stream(SOUND, 0x301)), map(2, stream(VIDEO, 0x101))])),
      ],
    ],
    [
      'two map tables of one PID, each in a packet',
      [
        programs([0x100, 0x100]),
        packets(0x100, map(1, stream(VIDEO, 0x101))),
        packets(0x100, map(2, stream(SOUND, 0x301)), 1),
      ],
    ],
  ])('%s', (_, tables) => {
    expect(pictured(...tables)).toEqual([0]);
  });

  test('of which a bit is wrong change nothing', () => {
    const [association, map] = [programs([0x100]), program(0x100, 1, 0x101)];
    const damaged = (packet: Buffer, at: number) => {
      const copy = Buffer.from(packet);
      copy[at] = (copy[at] as number) ^ 0x04;
      return copy;
    };
    // The PID of the map table, and that of the pictures.
    expect(pictured(damaged(association, 16), map)).toEqual([]);
    expect(pictured(association, map, damaged(association, 16))).toEqual([0]);
    expect(pictured(association, map, damaged(map, 19))).toEqual([0]);
  });

  test('of radio with data name no begin but a frame of sound', () => {
    const subtitles = 0x06;
    const radio = packets(0x100, map(1, [...stream(subtitles, 0x101), ...stream(SOUND, 0x102)]));
    const tables = Buffer.concat([programs([0x100]), radio]);
    expect(every(Buffer.concat([tables, picture(0x101)]))).toEqual([]);
    expect(every(Buffer.concat([tables, picture(0x101), picture(0x102)]))).toEqual([0]);
  });

  test('a map table that lacks its second packet, or has that of another, is none', () => {
    const [first, second] = [0, 1].map((n) =>
      packets(0x100, map(1, stream(VIDEO, 0x101), Array(220).fill(9))).subarray(
        n * PACKET_BYTES,
        (n + 1) * PACKET_BYTES,
      ),
    ) as [Buffer, Buffer];
    expect(pictured(programs([0x100]), first)).toEqual([]);
    expect(pictured(programs([0x100]), second)).toEqual([]);
    const late = Buffer.from(second);
    late[3] = 0x12;
    expect(pictured(programs([0x100]), first, late)).toEqual([]);
    expect(pictured(programs([0x100]), first, programs([0x100]), second)).toEqual([0]);
  });
});

describe('of what ffmpeg makes of', () => {
  const picturesOf = (seconds: number) => ['-f', 'lavfi', '-i', `testsrc2=size=320x180:rate=20:duration=${seconds}`];
  const made = (...args: string[]) =>
    execFileSync(
      findFfmpeg(),
      [
        ...['-v', 'error', ...picturesOf(SECONDS), '-f', 'lavfi', '-i', `sine=duration=${SECONDS}`],
        ...['-f', 'lavfi', '-i', `testsrc=size=320x180:rate=20:duration=${SECONDS}`, ...args],
        ...['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '10', '-keyint_min', '10', '-sc_threshold', '0'],
        ...['-c:a', 'mp2', '-b:a', '32k', '-f', 'mpegts', 'pipe:1'],
      ],
      { maxBuffer: 64 * 1024 * 1024 },
    );

  test.each([
    ['forty languages and then the picture', [...Array(40).fill(['-map', '1:a']).flat(), '-map', '0:v']],
    [
      'a program and a radio',
      [
        ...['-map', '0:v', '-map', '1:a', '-map', '1:a'],
        ...['-program', 'title=tv:st=0:st=1', '-program', 'title=radio:st=2'],
      ],
    ],
  ])('%s, there is one for each group, and all decode', (_, args) => {
    const bytes = made(...args, '-metadata:s:a', 'language=deu');
    const points = every(bytes);
    expect(points).toHaveLength(GROUPS);
    for (const [group, point] of points.entries()) {
      expect(decoded(bytes.subarray(point))).toEqual({ pictures: PICTURES - group * 10, complaints: '' });
    }
  });

  test('two programs, the first decodes from each', () => {
    const bytes = made(
      ...['-map', '0:v', '-map', '1:a', '-map', '2:v'],
      ...['-program', 'title=a:program_num=1:st=0:st=1', '-program', 'title=b:program_num=2:st=2:st=1'],
    );
    const points = every(bytes);
    // The picture of the second may be the very first that there is.
    for (const point of points.slice(1)) {
      const { pictures, complaints } = decoded(bytes.subarray(point), '0:p:1:v');
      expect([pictures % 10, complaints]).toEqual([0, '']);
    }
    expect(points.length).toBeGreaterThanOrEqual(GROUPS);
  });
});

test('a table that does not count yet changes nothing', () => {
  const tables = [
    programs([0x100]),
    program(0x100, 1, 0x101),
    programs([0x200], false),
    program(0x100, 1, 0x300, false),
  ];
  expect(every(Buffer.concat([...tables, picture(0x101)]))).toEqual([0]);
  expect(every(Buffer.concat([...tables, picture(0x300)]))).toEqual([]);
});
