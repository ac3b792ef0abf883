import { expect, test } from 'vitest';
import { promisedMs } from '../support/promised.ts';
import { cardOf, PAINTED, Stage } from './dashboard-support.ts';

const sources = Array.from({ length: 500 }, (_, index) => ['--source', `c${index}=http://127.0.0.1:1/c${index}.ts`]);
const stage = new Stage('dashboard-many', ['--demo', ...sources.flat()]);

test('500 channels are shown within two seconds, and the filter, the order and what changes stay quick', async () => {
  const { page } = await stage.open();
  await cardOf(page, 'c499').waitFor({ state: 'attached' });
  const shownAt = await page.evaluate<number>(`${PAINTED}.then(() => performance.now())`);
  console.log(`500 channels shown after ${Math.round(shownAt)} ms`);
  expect(await page.locator('.card').count()).toBe(503);
  expect(shownAt).toBeLessThan(promisedMs(2_000));
  const took = (work: string) =>
    page.evaluate<number>(
      `(() => { const begun = performance.now(); ${work}; document.body.offsetHeight; return performance.now() - begun })()`,
    );
  const type = (id: string, value: string) =>
    `const field = document.getElementById('${id}'); field.value = '${value}'; field.dispatchEvent(new Event('input'))`;
  const filtering = await took(type('filter', 'c17'));
  expect(await page.locator('.card').count()).toBe(11);
  const clearing = await took(type('filter', ''));
  const ordering = await took(type('order', 'name'));
  console.log(`filter ${Math.round(filtering)} ms, clear ${Math.round(clearing)} ms, order ${Math.round(ordering)} ms`);
  expect(Math.max(filtering, clearing, ordering)).toBeLessThan(promisedMs(1_000));
  await page.getByLabel('Filter channels').fill('nothing');
  await page.getByText('No channel matches “nothing”').waitFor();
});
