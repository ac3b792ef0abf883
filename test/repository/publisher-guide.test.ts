import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '../../examples/publisher/config/config.ts';
import { parseFlags } from '../../examples/publisher/config/flags.ts';
import { UNTIL_RESTART } from '../../examples/publisher/config/live-config.ts';
import { flagOf, OPTIONS } from '../../examples/publisher/config/options.ts';
import { schema } from '../../examples/publisher/config/schema.ts';
import { PublisherMetrics } from '../../examples/publisher/metrics.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const repository = new URL('../../', import.meta.url).pathname;
const guide = readFileSync(join(repository, 'docs/publisher.md'), 'utf8');
const folder = join(repository, 'examples/publisher');
const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join(folder, name), 'utf8'));

const DEFAULTS = schema.parse({}) as unknown as Record<string, unknown>;

/** The table of options as the guide is to have it. */
function optionTable(): string {
  const rows = Object.entries(OPTIONS).map(([option, { value, help }]) => {
    const flag = [flagOf(option), value].filter(Boolean).join(' ').replaceAll('|', '\\|');
    const standard = DEFAULTS[option];
    const shown = standard === undefined || typeof standard === 'object' ? '' : `\`${standard}\``;
    return `| \`${flag}\` | \`${option}\` | ${shown} | ${help.replaceAll('|', '\\|').replaceAll('<', '&lt;')} |`;
  });
  return ['| flag | field | default | what |', '|---|---|---|---|', ...rows].join('\n');
}

test('the guide has every option, with its default and what it means', () => {
  expect(guide).toContain(optionTable());
});

test('the guide has every address, and no other', () => {
  const served = sources
    .flatMap((text) => [...text.matchAll(/'((?:GET|POST|PUT|DELETE) \/[^']*)'/g)])
    .map(([, route = '']) => route.replace(':file', '{id}.ts').replace(/:(\w+)(\([^)]*\))?/g, '{$1}'))
    .filter((route) => !route.includes('${'));
  const told = [...guide.matchAll(/`((?:GET|POST|PUT|DELETE) \/[^`?]*)`/g)].map(([, route = '']) => route);
  expect([...new Set(told)].sort()).toEqual([...new Set([...served, 'GET /'])].sort());
});

test('the guide has every metric of the publisher, and no other', () => {
  const made = sources.flatMap((text) => [...text.matchAll(/name: '(publisher_[a-z_]+)'/g)]).map(([, name]) => name);
  const told = [...guide.matchAll(/`(publisher_[a-z_]+)`/g)].map(([, name]) => name);
  expect([...new Set(told)].sort()).toEqual([...new Set(made)].sort());
  using metrics = new PublisherMetrics();
  expect(metrics.registry.getMetricsAsArray().map(({ name }) => name)).toContain('publisher_orphans');
});

test('the guide has every status that the publisher answers with by a problem', () => {
  const used = sources.flatMap((text) => [...text.matchAll(/status: (4\d\d|5\d\d)\b/g)]).map(([, status]) => status);
  const told = [...guide.matchAll(/^\| (\d{3}) \|/gm)].map(([, status]) => status);
  const general = ['400', '413', '415', '500'];
  expect([...new Set(used)].filter((status) => !told.includes(status) && !general.includes(status ?? ''))).toEqual([]);
});

test('the guide names what waits for a restart', () => {
  const names = [...UNTIL_RESTART].map((option) => `\`${option}\``);
  expect(guide.replaceAll(/\s+/g, ' ')).toContain(`not applied: ${names.join(', ')}.`);
});

test('the configuration of the guide is one that the publisher takes', () => {
  const [, json = ''] = /```json\n([\s\S]*?)```/.exec(guide) ?? [];
  const directory = temporaryDirectory();
  const token = join(directory, 'token');
  writeFileSync(token, 'a-token-of-the-operator');
  const path = join(directory, 'publisher.json');
  writeFileSync(path, json.replace('/etc/holdfast/operator-token', token));
  const config = loadConfig(parseFlags(['--config', path]), {});
  expect(config).toMatchObject({ demo: false, operatorToken: 'a-token-of-the-operator' });
});

test('every flag that the guide names is one', () => {
  const flags = [...guide.matchAll(/(?<![\w-])--([a-z][a-z-]*)/g)].map(([, flag = '']) => flag);
  const known = ['config', 'check', 'print-config', 'print-schema', 'no-preview', 'no-deinterlace', 'help', 'version'];
  const ours = Object.keys(OPTIONS).map((option) => flagOf(option).slice(2));
  expect(flags.filter((flag) => ![...known, ...ours].includes(flag))).toEqual([]);
});
