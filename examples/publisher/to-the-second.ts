/** When so much is over. What stays the same would be news at each look if it were told more exactly. */
export function toTheSecond(leftMs: number): Date {
  return new Date(Math.round((Date.now() + leftMs) / 1_000) * 1_000);
}
