import {
  AdmissionError,
  type ChildExit,
  ChildExitError,
  ClosedError,
  LockInUseError,
  LockLostError,
  ReadyTimeoutError,
  RestartRefusedError,
  SourceBusyError,
  SourceEndedError,
  SourceStalledError,
  SourceStartTimeoutError,
  SpawnError,
  SubscriberLimitError,
  TreeSurvivedError,
} from 'holdfast';
import { describe, expect, it } from 'vitest';
import { ProgramNotFoundError } from '../../examples/hdhomerun/index.ts';
import {
  NoTunerError,
  NotAStreamError,
  PublisherFullError,
  SourceClosedError,
  SourceLateError,
  SourcesFailedError,
  SourceUnreachableError,
  SourceUntriedError,
} from '../../examples/publisher/errors.ts';
import { failureOf } from '../../examples/publisher/failure.ts';
import { type Blame, blameOf } from '../../examples/publisher/failure-kinds.ts';

const system = (code: string) => Object.assign(new Error(`connect ${code}`), { code });
const unreachable = (code: string) => new SourceUnreachableError('host', 'it is not there', system(code));
const exit = (stderrTail: string, changes: Partial<ChildExit> = {}) =>
  new ChildExitError('ffmpeg', {
    ...{ code: 1, signal: null, durationMs: 10, escapees: 0, reason: 'exited' },
    stderrTail,
    ...changes,
  });
const page = (text: string) => new NotAStreamError('http://host/', Buffer.from(text));
const lost = new LockLostError('url:x', '/x.lock', 'its file was replaced');

const ERRORS: readonly (readonly [what: string, error: Error, blame: Blame, status: number])[] = [
  ['that nothing answers', unreachable('ECONNREFUSED'), 'source', 502],
  ['that there is no route to it', unreachable('EHOSTUNREACH'), 'source', 502],
  ['an unknown name', unreachable('ENOTFOUND'), 'source', 502],
  ['that it cuts the connection', new SourceClosedError('http://host/', 'cut', system('ECONNRESET')), 'source', 502],
  ['that it is late', new SourceLateError('http://host/', 1_000, false), 'source', 504],
  ['that its ffmpeg is late', new ReadyTimeoutError('ffmpeg', 1_000, exit('').exit), 'source', 504],
  ['that a hub waited in vain', new SourceStartTimeoutError('a', 1_000), 'source', 504],
  ['that it stalls', new SourceStalledError('a', 1_000), 'source', 502],
  ['that its ffmpeg ends', exit('Connection refused'), 'source', 502],
  ['that it gives a page', page('<html>Login'), 'source', 502],
  ['what a page of it says', page('Network is unreachable (ENETUNREACH) Too many open files EMFILE'), 'source', 502],

  ['that another process holds it', new SourceBusyError('url:x', undefined), 'elsewhere', 409],
  ['that its tuners are taken', new NoTunerError('a', '805 All Tuners In Use', 10_000, undefined), 'elsewhere', 503],
  ['that it failed a moment ago', new RestartRefusedError('a', 'cooldown', 10), 'elsewhere', 503],
  ['that its lock was lost', lost, 'elsewhere', 503],
  ['that a hub ended for a lost lock', new SourceEndedError('a', { cause: lost }), 'elsewhere', 503],
  ['that a child lost its lock', exit('', { reason: 'lock-lost' }), 'elsewhere', 503],
  ['that a child lost its lease', exit('', { reason: 'lease-expired' }), 'elsewhere', 503],
  ['that its lock is not free', new LockInUseError('url:x', [1], 100), 'elsewhere', 503],
  ['that its last ffmpeg can not be ended', new TreeSurvivedError('ffmpeg', [1], 100), 'elsewhere', 502],
  ...['ENETUNREACH', 'ENETDOWN', 'EADDRNOTAVAIL', 'EAI_AGAIN', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'].flatMap(
    (code) =>
      [
        [`${code} of a connection`, unreachable(code), 'elsewhere', 503],
        [`${code} of a live one`, new SourceClosedError('http://host/', 'cut', system(code)), 'elsewhere', 503],
      ] as const,
  ),
  ...[
    'Network is unreachable',
    'Network is down',
    'Cannot assign requested address',
    'Temporary failure in name resolution',
    'Too many open files',
    'Cannot allocate memory',
    'No buffer space available',
  ].map((words) => [`${words}, as ffmpeg says`, exit(`[tcp @ 0x1] ${words}`), 'elsewhere', 503] as const),

  ['that there was no time to try it', new SourceUntriedError('http://host/', 1_000), 'nobody', 504],
  ['that there is no ffmpeg', new ProgramNotFoundError('there is none'), 'process', 502],
  ['that no process can be started', new SpawnError('ffmpeg', system('EAGAIN')), 'process', 502],
  ['that every process is taken', new PublisherFullError('is full', 10_000, undefined), 'process', 503],
  ['that memory is scarce', new AdmissionError('no memory'), 'process', 503],
  ['that it is closed', new ClosedError('a'), 'here', 503],
  ['that it has enough viewers', new SubscriberLimitError('a', 10), 'here', 429],
];

describe('what a viewer is told of', () => {
  it.each(ERRORS)('%s', (_, error, blame, status) => {
    expect([blameOf(error), failureOf(error).status]).toEqual([blame, status]);
    const ofSeveral = new SourcesFailedError('a', ['each said something'], error);
    expect([blameOf(ofSeveral), failureOf(ofSeveral).status]).toEqual([blame, status]);
  });

  it('what is over soon is when to come again, and a code that players of an HDHomeRun know', () => {
    const soonOver = ERRORS.map(([, error]) => failureOf(error)).filter(({ status }) => status === 503);
    expect(soonOver.length).toBeGreaterThan(20);
    for (const failure of soonOver) {
      expect(failure).toMatchObject({
        retryAfterMs: expect.any(Number),
        deviceError: expect.stringMatching(/^8\d\d /),
      });
    }
  });
});
