import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const repository = new URL('../../', import.meta.url).pathname;
const table = readFileSync(`${repository}EVENTS.md`, 'utf8');
const documented = Array.from(table.matchAll(/^\| `holdfast:([\w-]+):([\w-]+)` \| (.*?) \|/gm), ([, ...row]) => row);

/** The source text of each primitive that publishes anything. */
const primitives = new Map<string, string>();
for (const file of globSync('src/*/*.ts', { cwd: repository })) {
  const text = readFileSync(repository + file, 'utf8');
  const [, name] = /diagnosticsOf\('([\w-]+)'\)/.exec(text) ?? [];
  if (name) primitives.set(name, text);
}

/** `publish('x', { this: this, a, b })`, `#tell('x', { a })`; `publish(event, …)` is called with what `happened` gets. */
function published(text: string): { event: string; payload: string | undefined }[] {
  const calls = text.matchAll(/(?:publish|#tell)\('([\w-]+)', \{ ?(.*?) ?\}[,)]/g);
  const happened = text.matchAll(/#happened\('([\w-]+)'\)/g);
  const union = /#happened\(event: (.*?)\)/.exec(text)?.[1]?.matchAll(/'([\w-]+)'/g) ?? [];
  return [
    ...Array.from(calls, ([, event, payload]) => ({ event: event as string, payload })),
    ...Array.from([...happened, ...union], ([, event]) => ({ event: event as string, payload: undefined })),
  ];
}

test('EVENTS.md tells of every channel, and of no other', () => {
  const expected = [...primitives].flatMap(([name, text]) => published(text).map(({ event }) => `${name}:${event}`));
  expect(expected.length).toBeGreaterThan(30);
  expect(documented.map(([name, event]) => `${name}:${event}`).sort()).toEqual([...new Set(expected)].sort());
});

test('and of everything that is published on each', () => {
  for (const [name, event, payload = ''] of documented) {
    const names = payload.replaceAll(/[`?]/g, '').split(', ');
    const calls = published(primitives.get(name as string) as string).filter((each) => each.event === event);
    for (const { payload } of calls) {
      const given = (payload ?? '')
        .split(', ')
        .filter((each) => each && !each.startsWith('...') && !/: this$/.test(each));
      for (const each of given) expect(names, `${name}:${event}`).toContain(each.split(':')[0]);
    }
  }
});
