/**
 * Takes groups of steps one after the other, the steps of each group at the same time, and each whatever becomes of the
 * others: what is left open at an end is open for good.
 *
 * @throws what the first that failed threw, once all are taken.
 */
export async function finishAll(...groups: readonly (readonly (() => unknown)[])[]): Promise<void> {
  const failed: PromiseRejectedResult[] = [];
  for (const group of groups) {
    const results = await Promise.allSettled(group.map(async (step) => step()));
    failed.push(...results.filter((result) => result.status === 'rejected'));
  }
  const [first] = failed;
  if (first) throw first.reason;
}
