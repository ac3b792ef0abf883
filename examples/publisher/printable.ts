// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const CONTROL = /\n(?! {2})|[\0-\x09\x0b-\x1f\x7f-\x9f]/g;

/**
 * A text as a terminal may show it: control characters are written out (`\x1b`), so that a name from the network can
 * neither move the cursor nor begin a line that looks like a record. A line break is kept where two blanks follow, as in
 * the tails of stderr in errors.
 */
export function printable(text: string): string {
  return text.replace(CONTROL, (character) =>
    character === '\n' ? '\\n' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
