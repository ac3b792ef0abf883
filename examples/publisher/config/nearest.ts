/** `did you mean port? `, if one of those that are known is near enough to be meant; else nothing. */
export function didYouMean(word: string, known: readonly string[]): string {
  const nearest = known
    .map((candidate) => ({ candidate, distance: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .reduce((a, b) => (b.distance < a.distance ? b : a));
  return nearest.distance <= Math.max(1, Math.floor(word.length / 3)) ? `did you mean ${nearest.candidate}? ` : '';
}

/** Of Damerau and Levenshtein: how many letters are to be put in, left out, changed, or changed with their neighbour. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number) => rows[row]?.[column] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i++) {
    rows[i] = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity;
      (rows[i] as number[])[j] = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, changed, swapped);
    }
  }
  return at(a.length, b.length);
}
