import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Connections } from '../../examples/publisher/http/connections.ts';
import { TrustedProxies } from '../../examples/publisher/http/trusted-proxies.ts';
import { householdOf, isRefused, Viewers } from '../../examples/publisher/http/viewers.ts';

const MANY = { maxViewers: 100, maxViewersTotal: 100, maxViewersPerAddress: 100 };

function admitted(viewers: Viewers, address: string, channel: string): Disposable {
  const place = viewers.admit(address, channel);
  if (isRefused(place)) throw new Error(place.detail);
  return place;
}

describe('viewers', () => {
  it.each([
    ['maxViewers', 'channel a has 2 viewers, as many as --max-viewers allows'],
    ['maxViewersTotal', 'this publisher has 2 viewers, as many as --max-viewers-total allows'],
    ['maxViewersPerAddress', '10.0.0.1 has 2 viewers, as many as --max-viewers-per-address allows'],
  ])('are bounded by %s, and one more has the place of one that left, once', (option, detail) => {
    const viewers = new Viewers(() => ({ ...MANY, [option]: 2 }));
    const first = admitted(viewers, '10.0.0.1', 'a');
    admitted(viewers, '10.0.0.1', 'a');
    const refused = viewers.admit('10.0.0.1', 'a');
    expect(refused).toMatchObject({
      status: 429,
      detail,
      deviceError: '809 Playback Connection Limit',
      retryAfterMs: 10_000,
    });
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    admitted(viewers, '10.0.0.1', 'a');
    expect(isRefused(viewers.admit('10.0.0.1', 'a'))).toBe(true);
    expect([viewers.total, viewers.of('a')]).toEqual([2, 2]);
  });

  it('of another channel or address are not counted for this one', () => {
    const viewers = new Viewers(() => ({ ...MANY, maxViewers: 1, maxViewersPerAddress: 1 }));
    admitted(viewers, '10.0.0.1', 'a');
    admitted(viewers, '10.0.0.2', 'b');
    expect(isRefused(viewers.admit('10.0.0.3', 'a'))).toBe(true);
    expect(isRefused(viewers.admit('10.0.0.2', 'c'))).toBe(true);
  });

  it('are judged by the limits that hold when they come', () => {
    let limits = MANY;
    const viewers = new Viewers(() => limits);
    admitted(viewers, '10.0.0.1', 'a');
    limits = { ...MANY, maxViewersTotal: 1 };
    expect(isRefused(viewers.admit('10.0.0.2', 'b'))).toBe(true);
  });

  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['', ''],
  ])('from %j are of %j', (address, household) => {
    expect(householdOf(address)).toBe(household);
  });
});

it.each([
  ['::1', ['::1'], 0],
  ['2001:db8::1', ['2001:db8::/48'], 0],
  ['::ffff:10.0.0.1', ['10.0.0.1'], 0],
  ['2001:db8::1', ['2001:db8:1::/48'], 50],
])(
  'of 451 connections from %s, of which %j are trusted proxies, %i are too many of one address',
  (remoteAddress, trusted, tooMany) => {
    const refused: string[] = [];
    const limits = { maxViewersTotal: 1_000, maxViewersPerAddress: 1 };
    const proxies = new TrustedProxies(() => trusted);
    const connections = new Connections(
      () => limits,
      proxies,
      (why) => refused.push(why),
    );
    for (let each = 0; each < 451; each++) {
      connections.admit(Object.assign(new PassThrough(), { remoteAddress }) as unknown as Socket);
    }
    expect(refused).toEqual(Array(tooMany).fill('address'));
  },
);
