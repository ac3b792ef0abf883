import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { PublisherMetrics } from '../../examples/publisher/metrics.ts';
import { debianProgram } from '../support/debian.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const run = promisify(execFile);
const deploy = new URL('../../examples/deploy/', import.meta.url).pathname;
const rules = readFileSync(join(deploy, 'prometheus/alerts.yml'), 'utf8');
const dashboard: { panels: { title: string; targets: { expr: string }[] }[] } = JSON.parse(
  readFileSync(join(deploy, 'grafana/holdfast.json'), 'utf8'),
);
const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
const promtool = await debianProgram('promtool', ['prometheus']);

/** All that the publisher exposes. */
async function exposed(): Promise<string> {
  using metrics = new PublisherMetrics();
  metrics.observe([] as never);
  return await metrics.registry.metrics();
}

const metricNames = (text: string) => new Set(text.match(/\b(?:holdfast|publisher)_\w+/g));

test('every metric that an alert or the dashboard asks for is exposed', async () => {
  const names = [...(await exposed()).matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name = '', type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
  const asked = [...metricNames(rules), ...metricNames(queries.join('\n'))];
  expect(asked.length).toBeGreaterThan(20);
  expect(asked.filter((name) => !names.includes(name))).toEqual([]);
});

test('the dashboard shows every metric of the library', async () => {
  const shown = metricNames(queries.join('\n'));
  const names = [...(await exposed()).matchAll(/^# TYPE (holdfast_\S+)/gm)].map(([, name = '']) => name);
  expect(names.filter((name) => ![...shown].some((each) => each.startsWith(name)))).toEqual([]);
});

describe.skipIf(!promtool)('promtool', () => {
  const { path, env } = promtool ?? { path: '', env: {} };

  test('accepts what is exposed', async () => {
    const checking = run(path, ['check', 'metrics'], { env });
    checking.child.stdin?.end(await exposed());
    expect(await checking).toMatchObject({ stderr: '' });
  });

  test('accepts the rules, and they fire as they should', async () => {
    await run(path, ['check', 'rules', join(deploy, 'prometheus/alerts.yml')], { env });
    await run(path, ['test', 'rules', join(deploy, 'prometheus/alerts.test.yml')], { env });
  });

  test('accepts every query of the dashboard', async () => {
    const file = join(temporaryDirectory(), 'queries.yml');
    const recorded = queries.map((expr, index) => ({
      record: `dashboard:query:${index}`,
      expr: expr.replaceAll('$instance', '.*'),
    }));
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: recorded }] }));
    await run(path, ['check', 'rules', file], { env });
  });
});
