import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventLog } from '../../examples/publisher/events.ts';
import { createLog, type LogFormat, type LogSettings } from '../../examples/publisher/log.ts';

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

  it('writes control characters out, so that no name can forge a record', () => {
    const log = createLog('pretty');
    log.info('7.1 \x1b[2J\x9b2J\rname\n10:00:00 dashboard: http://evil/');
    log.warn('ffmpeg ended; its last words:\n  no such\tfile\n  bye');
    vi.restoreAllMocks();
    expect(lines.map((line) => line.slice('10:00:00 '.length))).toEqual([
      '7.1 \\x1b[2J\\x9b2J\\x0dname\\n10:00:00 dashboard: http://evil/\n',
      'WARN ffmpeg ended; its last words:\n  no such\\x09file\n  bye\n',
    ]);
  });

  it('keeps errors, dates and holders whole in JSON', () => {
    const since = new Date(0);
    createLog('json').warn({ since, holder: { pid: 7 }, err: new TypeError('no "good"') }, 'refused');
    vi.restoreAllMocks();
    const record = JSON.parse(lines.join(''));
    expect(record).toMatchObject({ level: 'warn', msg: 'refused', since: since.toISOString(), holder: { pid: 7 } });
    expect(record.err).toEqual({ name: 'TypeError', message: 'no "good"' });
  });

  it('leaves out what comes while nobody reads, and tells how much that was once somebody does', () => {
    const unread = vi.spyOn(process.stdout, 'writableLength', 'get').mockReturnValue(2_000_000);
    const log = createLog('pretty');
    for (const word of ['one', 'two', 'three']) log.info(word);
    expect(lines).toEqual([]);
    unread.mockReturnValue(0);
    process.stdout.emit('drain');
    log.info('four');
    vi.restoreAllMocks();
    expect(lines.map((line) => line.slice('10:00:00 '.length))).toEqual([
      'WARN 3 lines of the log were left out: nobody read them\n',
      'four\n',
    ]);
  });

  it('tells at the end what it hid until then', () => {
    const log = createLog('pretty');
    for (let count = 0; count < 25; count += 1) log.info('again');
    log.flush();
    vi.restoreAllMocks();
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toContain('again (5 times more, not shown)');
  });

  it('shows what is at its level or above, which may change, and keeps the rest for the dashboard', () => {
    const events = new EventLog();
    const settings: LogSettings = { level: 'warn' };
    const log = createLog('pretty', events, settings).child({ channel: '5.1' });
    for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level](level);
    settings.level = 'debug';
    log.debug('now');
    vi.restoreAllMocks();
    expect(lines.map((line) => line.slice('10:00:00 '.length))).toEqual([
      'WARN warn\n',
      'ERROR error\n',
      'DEBUG now\n',
    ]);
    expect(events.after(undefined).events.map(({ text }) => text)).toEqual(['info', 'warn', 'error']);
  });

  it('does not go on and on with one line, of any channel', () => {
    const log = createLog('json');
    for (const channel of ['a', 'b']) for (let count = 0; count < 100; count += 1) log.child({ channel }).warn('again');
    vi.restoreAllMocks();
    expect(lines).toHaveLength(40);
  });
});
