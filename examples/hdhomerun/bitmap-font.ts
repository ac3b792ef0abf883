/**
 * A 5x7 font and a picture made of it: a bare machine has no font file that ffmpeg could draw text with.
 * A glyph is seven rows from the top, each a base-32 digit whose five bits are the pixels.
 */
const GLYPHS: Readonly<Record<string, string>> = {
  A: 'ehhvhhh',
  B: 'uhhuhhu',
  C: 'ehggghe',
  D: 'uhhhhhu',
  E: 'vgguggv',
  F: 'vgguggg',
  G: 'ehgnhhf',
  H: 'hhhvhhh',
  I: 'e44444e',
  J: '72222ic',
  K: 'hikokih',
  L: 'ggggggv',
  M: 'hrllhhh',
  N: 'hhpljhh',
  O: 'ehhhhhe',
  P: 'uhhuggg',
  Q: 'ehhhlid',
  R: 'uhhukih',
  S: 'fgge11u',
  T: 'v444444',
  U: 'hhhhhhe',
  V: 'hhhhha4',
  W: 'hhhllla',
  X: 'hha4ahh',
  Y: 'hhha444',
  Z: 'v1248gv',
  0: 'ehjlphe',
  1: '4c4444e',
  2: 'eh1248v',
  3: 'v2421he',
  4: '26aiv22',
  5: 'vgu11he',
  6: '68guhhe',
  7: 'v124888',
  8: 'ehhehhe',
  9: 'ehhf12c',
  ' ': '0000000',
  '.': '00000cc',
  '-': '000v000',
  ':': '0cc0cc0',
  '/': '01248g0',
  '?': 'eh12404',
  "'": '4480000',
  '&': 'cik8lid',
  '+': '044v440',
};

const ROWS = 7;
const COLUMNS = 5;
/** Empty pixels around the text, and between two characters. */
const MARGIN = 2;
const GAP = 1;

/** Draws one line of text, white on black, as a PGM picture. Letters become capitals; unknown characters become `?`. */
export function renderText(text: string): Buffer {
  const glyphs = [...text.toUpperCase()].map((character) => GLYPHS[character] ?? (GLYPHS['?'] as string));
  const width = glyphs.length * (COLUMNS + GAP) - GAP + 2 * MARGIN;
  const height = ROWS + 2 * MARGIN;
  const pixels = Buffer.alloc(width * height);
  for (const [index, glyph] of glyphs.entries()) {
    drawGlyph(glyph, (x, y) => pixels.writeUInt8(255, (MARGIN + y) * width + MARGIN + index * (COLUMNS + GAP) + x));
  }
  return Buffer.concat([Buffer.from(`P5\n${width} ${height}\n255\n`), pixels]);
}

function drawGlyph(glyph: string, draw: (x: number, y: number) => void): void {
  for (let y = 0; y < ROWS; y++) {
    const bits = Number.parseInt(glyph[y] as string, 32);
    for (let x = 0; x < COLUMNS; x++) if (bits & (1 << (COLUMNS - 1 - x))) draw(x, y);
  }
}
