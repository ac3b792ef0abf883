import { escaped, plot } from './plot.ts';
import type { Reading } from './readings.ts';
import type { Findings } from './verdict.ts';

export interface Incident {
  readonly at: number;
  readonly what: string;
}

export interface Report extends Findings {
  readonly title: string;
  readonly incidents: readonly Incident[];
  readonly complaints: readonly string[];
}

/** One page with all of it, the plots within. */
export function page(report: Report): string {
  const { title, readings, incidents, audience, orphans, complaints, recursionErrors } = report;
  const instants = incidents.map(({ at }) => at);
  const line = (name: string, read: (reading: Reading) => number) => ({
    name,
    points: readings.map((reading) => [reading.at, read(reading)] as const),
  });
  const plots = [
    plot('Memory, MiB (grey: a fault)', [line('RSS', ({ rssBytes }) => rssBytes / 2 ** 20)], instants),
    plot('Descriptors', [line('open', ({ descriptors }) => descriptors)], instants),
    plot(
      'Children and viewers',
      [line('children', ({ children }) => children), line('viewers', ({ subscribers }) => subscribers)],
      instants,
    ),
    plot('Restarts', [line('restarts', ({ restarts }) => restarts), line('storms', ({ storms }) => storms)], instants),
    plot('Event loop delay, p99, ms', [line('delay', ({ loopDelay }) => loopDelay * 1_000)], instants),
  ];
  const counts = new Map<string, number>();
  for (const { what } of incidents) counts.set(what, (counts.get(what) ?? 0) + 1);
  const rows: [string, string | number][] = [
    ...[...counts].map(([what, count]): [string, number] => [`fault: ${what}`, count]),
    ['healthy viewers that got a stream', audience.viewers],
    ['refused, by status', JSON.stringify(audience.refused)],
    ['bytes compared and equal', audience.equalBytes],
    ['bytes lost', audience.lostBytes],
    ['healthy viewers cut', audience.cut],
    ['viewers without an answer', audience.unanswered],
    ['slow viewers, of them dropped', `${audience.slow}, ${audience.slowDropped}`],
    ['orphans', orphans.length],
    ['recursion errors', recursionErrors],
  ];
  return `<!doctype html>
<meta charset="utf-8">
<title>${escaped(title)}</title>
<style>body { font-family: sans-serif; max-width: 760px; margin: 2em auto } td { padding: 0 1em 0 0 }</style>
<h1>${escaped(title)}</h1>
<p>${complaints.length === 0 ? 'Passed.' : `Failed: ${complaints.map(escaped).join('; ')}.`}</p>
<table>${rows.map(([name, value]) => `<tr><td>${escaped(name)}<td>${escaped(String(value))}`).join('\n')}</table>
${plots.join('\n')}
`;
}
