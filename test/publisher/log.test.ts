import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLog, type LogFormat } from '../../examples/publisher/log.ts';

let lines: string[];

beforeEach(() => {
  lines = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((line) => lines.push(String(line)) > 0);
});

afterEach(() => vi.restoreAllMocks());

describe('the log', () => {
  it.each<LogFormat>(['pretty', 'json'])('passes no credential, wherever in a record it is (%s)', (format) => {
    const log = createLog(format).child({ channel: '5.1' });
    const url = 'http://me:hunter2@h/?token=hunter2';
    log.info(`opening ${url}`);
    log.warn({ source: url, nested: { list: [url] }, err: new Error(`refused by ${url}`) }, 'refused');
    log.error(new Error(url));
    vi.restoreAllMocks();
    expect(lines).toHaveLength(3);
    expect(lines.join('')).not.toContain('hunter2');
    expect(lines.join('')).toContain('http://***@h/?token=***');
  });

  it('keeps errors, dates and holders whole in JSON', () => {
    const since = new Date(0);
    createLog('json').warn({ since, holder: { pid: 7 }, err: new TypeError('no "good"') }, 'refused');
    vi.restoreAllMocks();
    const record = JSON.parse(lines.join(''));
    expect(record).toMatchObject({ level: 'warn', msg: 'refused', since: since.toISOString(), holder: { pid: 7 } });
    expect(record.err).toEqual({ name: 'TypeError', message: 'no "good"' });
  });
});
