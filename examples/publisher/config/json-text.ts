/**
 * Reads JSON that an operator wrote. Node's own complaint quotes the text where it is wrong, which may be a secret; this one
 * tells the place alone.
 *
 * @throws Error that says where it is no JSON, or what may not be in it.
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text, refusePrototype);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Error(`this is no JSON: it is wrong at ${placeOf(error, text)}`);
  }
}

/** Such a field would be dropped without a word. */
function refusePrototype(name: string, value: unknown): unknown {
  if (name === '__proto__') throw new Error('a field may not be named __proto__');
  return value;
}

function placeOf({ message }: SyntaxError, text: string): string {
  const before = text.slice(0, Number(/at position (\d+)/.exec(message)?.[1] ?? wrongAt(text)));
  const lines = before.split('\n');
  return `line ${lines.length}, column ${(lines.at(-1) ?? '').length + 1}`;
}

/** Of a text that goes wrong at some character, what comes before that is merely incomplete. */
function wrongAt(text: string): number {
  let [good, bad] = [0, text.length + 1];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (hasWrongCharacter(text.slice(0, middle))) bad = middle;
    else good = middle;
  }
  return bad - 1;
}

function hasWrongCharacter(text: string): boolean {
  try {
    JSON.parse(text);
    return false;
  } catch (error) {
    return (error as Error).message.startsWith('Unexpected token');
  }
}
