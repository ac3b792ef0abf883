import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { encoderArguments } from '../../examples/publisher/pipeline/encoder-arguments.ts';
import { type EncodedProfile, profileOfTranscode, RECIPES } from '../../examples/publisher/pipeline/profiles.ts';
import { renditionArguments, type VideoEncoder } from '../../examples/publisher/pipeline/rendition-arguments.ts';
import { filePath } from '../../examples/publisher/source-address.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { makeRecording } from './support.ts';

const profiles = Object.keys(RECIPES) as EncodedProfile[];
const kinds: readonly VideoEncoder[] = [
  ...(['software', 'nvenc', 'v4l2m2m'] as const).map((kind) => ({ kind })),
  ...(['vaapi', 'qsv'] as const).map((kind) => ({ kind, device: '/dev/dri/renderD128' })),
];
/** Texts that could be taken for options, filters, protocols or a shell's. */
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '-i',
    '-y /etc/passwd',
    '-vf',
    "'; rm -rf ~",
    'a\n-f null',
    '[in]movie=/etc/passwd',
    'pipe:1',
    '--',
    '',
  ),
);
const rendition = (name: string, profile: EncodedProfile, encoder: VideoEncoder, deinterlace = true) =>
  renditionArguments({ name, profile, encoder, deinterlace, beginSeconds: 0 });
const NAME = 'Harbour News';

/** The arguments with each that equals one of `as` in the place of what it stands for. */
const masked = (args: readonly string[], from: readonly string[], as: readonly string[]) =>
  args.map((arg) => as[from.indexOf(arg)] ?? arg);

describe('whatever text comes from outside', () => {
  it('the name of a channel changes one argument of a rendition, behind an option that takes it', () => {
    fc.assert(
      fc.property(text, fc.constantFrom(...profiles), fc.constantFrom(...kinds), (name, profile, encoder) => {
        const args = rendition(name, profile, encoder);
        const usual = rendition(NAME, profile, encoder);
        const at = usual.indexOf(`service_name=${NAME}`);
        expect(args[at - 1]).toBe('-metadata');
        expect(args).toEqual(usual.with(at, `service_name=${name}`));
      }),
    );
  });

  it('the address and the name of a source change one argument each, behind options that take them', () => {
    fc.assert(
      fc.property(text, text, (rest, name) => {
        const url = `udp://${rest}`;
        const usual = encoderArguments({ url: 'udp://239.0.0.1:1234', name: NAME });
        const args = encoderArguments({ url, name });
        const from = [url, `service_name=${name}`];
        expect(masked(args, from, ['udp://239.0.0.1:1234', `service_name=${NAME}`])).toEqual(usual);
        expect(args[args.indexOf(url) - 1]).toBe('-i');
      }),
    );
  });

  it('a file is always named as one, so that its name can be no option and no other protocol', () => {
    fc.assert(
      fc.property(text, (name) => {
        if (filePath(name) === undefined) return;
        const args = encoderArguments({ url: name, name: NAME });
        expect(args[args.indexOf('-i') + 1]).toMatch(/^file:/);
      }),
    );
  });
});

describe('what an address in the web leads to', () => {
  const read = promisify(execFile);
  /** What ffmpeg makes of a playlist that names this segment. */
  async function playlist(segment: string): Promise<number> {
    const text = `#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n${segment}\n#EXT-X-ENDLIST\n`;
    const server = createServer(({ url = '' }, response) => {
      if (url.endsWith('.ts')) createReadStream(recording).pipe(response);
      else response.writeHead(200, { 'Content-Type': 'application/vnd.apple.mpegurl' }).end(text);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/index.m3u8`;
    const options = { encoding: 'buffer', timeout: 20_000, maxBuffer: 2 ** 24 } as const;
    const { stdout } = await read(findFfmpeg(), encoderArguments({ url, name: NAME }), options).catch((error) => error);
    return stdout.length;
  }
  const recording = join(temporaryDirectory(afterAll), 'recording.ts');
  beforeAll(() => makeRecording(recording));

  it('is read from there', async () => {
    expect(await playlist('1.ts')).toBeGreaterThan(100_000);
  });

  it('is no file of this host', async () => {
    for (const address of [`file:${recording}`, `file://${recording}`, `concat:${recording}`]) {
      expect(await playlist(address)).toBe(0);
    }
  });
});

describe('the arguments of a rendition', () => {
  it.each(kinds)('are pictures that browsers play, deinterlaced before they are scaled, by $kind', (encoder) => {
    const args = rendition(NAME, 'web', encoder);
    const filters = (args[args.indexOf('-vf') + 1] as string).replace(/'[^']*'/g, 'x').split(',');
    expect(filters[0]).toMatch(/^bwdif=.*deint=interlaced$/);
    expect(filters[1]).toMatch(/^scale=/);
    expect(filters[2]).toMatch(/^format=(yuv420p|nv12)$/);
    expect(filters[3]?.startsWith('hwupload') ?? false).toBe('device' in encoder);
    expect(args.includes('-init_hw_device')).toBe('device' in encoder);
    expect(rendition(NAME, 'web', encoder, false).join(' ')).not.toContain('bwdif');
  });

  it('have no pictures and no device for sound alone', () => {
    const args = rendition(NAME, 'audio', { kind: 'vaapi', device: '/dev/dri/renderD128' });
    expect(args.filter((arg) => ['-vf', '-c:v', '-init_hw_device'].includes(arg))).toEqual([]);
    expect(args).toContain('aac');
  });
});

describe('a name of transcode=', () => {
  it.each([
    ['none', 'copy'],
    ['heavy', 'web'],
    ['internet720', 'web'],
    ['mobile', 'sd'],
    ['internet480', 'sd'],
    ['internet360', 'low'],
    ['internet240', 'tiny'],
    ['web', 'web'],
    ['cinema', undefined],
    ['constructor', undefined],
  ])('%s is %s', (name, profile) => {
    expect(profileOfTranscode(name)).toBe(profile);
  });
});
