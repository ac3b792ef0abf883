import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type ChannelProvider,
  Directory,
  type DirectorySettings,
  isStale,
  type Offer,
  type ProviderKind,
} from '../../examples/publisher/directory/directory.ts';

const TTL_MS = 30_000;

/** Says what it is told to say, hangs if that is nothing. */
class Provider implements ChannelProvider {
  readonly name: string;
  readonly key: string;
  readonly kind: ProviderKind;
  readonly initial: readonly Offer[];
  says: readonly Offer[] | Error | undefined;
  asked = 0;

  constructor(name: string, says?: readonly Offer[] | Error, kind: ProviderKind = 'device', initial: Offer[] = []) {
    this.name = name;
    this.key = name;
    this.says = says;
    this.kind = kind;
    this.initial = initial;
  }

  async offers(): Promise<readonly Offer[]> {
    this.asked += 1;
    if (this.says instanceof Error) throw this.says;
    return this.says ?? new Promise(() => {});
  }
}

const offer = (...ids: [string, ...string[]]): Offer => ({
  ids,
  name: ids[0],
  number: ids[0],
  sources: [{ url: `http://h/${ids[0]}` }],
});

/** As a device has it: `5.1` of A. */
const ofDevice = (device: string, number: string, name: string, more: Partial<Offer> = {}): Offer => ({
  ids: [number, `${device}-${number}`],
  name,
  number,
  sources: [{ url: `http://${device}/${number}` }],
  sameAs: `${number} ${name.toLowerCase()}`,
  ...more,
});

let directory: Directory;
const failed = vi.fn();
const refreshed = vi.fn();
const changed = vi.fn();
const broken = vi.fn();
let settings: DirectorySettings = {};

function start(...providers: Provider[]): Promise<void> {
  directory = new Directory(providers, { failed, refreshed, changed, broken }, { ttlMs: TTL_MS, ...settings });
  return directory.start();
}

const ids = () => directory.entries.map(({ id }) => id);
const staleIds = () => directory.entries.filter((entry) => isStale(entry)).map(({ id }) => id);

describe('the directory', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(async () => {
    directory[Symbol.dispose]();
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
    vi.clearAllMocks();
    settings = {};
  });

  it('is refreshed every third of the ttl, which begins anew each time', async () => {
    const provider = new Provider('device', [offer('5.1')]);
    await start(provider);
    const [first] = directory.entries;
    expect(first?.expiresAt.getTime()).toBe(Date.now() + TTL_MS);
    await vi.advanceTimersByTimeAsync(TTL_MS / 3);
    expect(provider.asked).toBe(2);
    expect(directory.entries[0]?.expiresAt.getTime()).toBe(Date.now() + TTL_MS);
    expect(refreshed).toHaveBeenCalledTimes(2);
  });

  it.each([
    ['hangs', undefined],
    ['fails', new Error('out of order')],
  ])(
    'keeps the channels of a provider that %s, as stale past the ttl, and takes them back when it is well',
    async (_, fault) => {
      const provider = new Provider('device', [offer('5.1'), offer('7.1')]);
      const healthy = new Provider('configuration', [offer('a')]);
      await start(provider, healthy);
      provider.says = fault;
      await vi.advanceTimersByTimeAsync(TTL_MS - 1);
      expect(staleIds()).toEqual([]);
      await vi.advanceTimersByTimeAsync(1_000_000);
      expect(ids()).toEqual(['5.1', '7.1', 'a']);
      expect(staleIds()).toEqual(['5.1', '7.1']);
      expect(failed.mock.lastCall?.[0]).toBe(provider);
      provider.says = [offer('5.1'), offer('7.1')];
      await vi.advanceTimersByTimeAsync(TTL_MS);
      expect(staleIds()).toEqual([]);
    },
  );

  it('removes a channel only when its provider no longer has it', async () => {
    const provider = new Provider('device', [offer('5.1'), offer('7.1')]);
    await start(provider);
    provider.says = [offer('7.1')];
    await vi.advanceTimersByTimeAsync(TTL_MS / 3);
    expect(ids()).toEqual(['7.1']);
  });

  it('asks a provider that fails again with longer and longer pauses, up to a third of the ttl', async () => {
    await start(new Provider('device', new Error('out of order')));
    await vi.advanceTimersByTimeAsync(60_000);
    const pauses = failed.mock.calls.map(([, { retryAfterMs }]) => retryAfterMs);
    expect(pauses.slice(0, 6)).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  });

  it('gives up a read that hangs after a third of the ttl, and does not delay others', async () => {
    const hanging = new Provider('device');
    const healthy = new Provider('configuration', [offer('a')]);
    void start(hanging, healthy);
    await vi.advanceTimersByTimeAsync(0);
    expect(ids()).toEqual(['a']);
    await vi.advanceTimersByTimeAsync(TTL_MS / 3);
    expect(failed.mock.lastCall?.[1].error).toMatchObject({ message: 'no answer within 10000 ms' });
  });

  it('reads once at a time, and once more after that if it was asked for meanwhile, however often', async () => {
    const provider = new Provider('device', [offer('5.1')]);
    await start(provider);
    provider.says = undefined;
    const asked = [directory.refresh(provider), directory.refresh(provider), directory.refresh(provider)];
    await vi.advanceTimersByTimeAsync(0);
    expect(provider.asked).toBe(2);
    provider.says = [offer('7.1')];
    await vi.advanceTimersByTimeAsync(TTL_MS / 3);
    await Promise.all(asked);
    expect([provider.asked, ids()]).toEqual([3, ['7.1']]);
  });

  it('asks nobody once it is disposed', async () => {
    const provider = new Provider('device', [offer('5.1')]);
    await start(provider);
    directory[Symbol.dispose]();
    await directory.refresh(provider);
    const late = new Provider('late', [offer('a')]);
    await directory.setProviders([provider, late]);
    expect([provider.asked, late.asked, ids()]).toEqual([1, 0, ['5.1']]);
  });

  it.each(['changed', 'refreshed', 'failed'] as const)(
    'says that it is at fault itself if what is %s can not be carried on, and goes on',
    async (which) => {
      const fault = new Error('a fault of ours');
      const listener = { changed, refreshed, failed }[which];
      listener.mockImplementation(() => {
        throw fault;
      });
      const provider = new Provider('device', which === 'failed' ? new Error('theirs') : [offer('5.1')]);
      await start(provider);
      listener.mockReset();
      expect(broken).toHaveBeenCalledWith(fault);
      if (which !== 'failed') expect(failed).not.toHaveBeenCalled();
      await vi.advanceTimersByTimeAsync(TTL_MS / 3);
      expect(provider.asked).toBeGreaterThan(1);
    },
  );

  it('never gives an announced channel the number of another, whichever was known first', async () => {
    const device = new Provider('device', []);
    const announced = new Provider('announced', [{ ...offer('foreign'), number: '5.1' }], 'announced');
    await start(device, announced);
    expect(directory.entries.map(({ id, number }) => [id, number])).toEqual([['foreign', '5.1']]);
    device.says = [offer('5.1')];
    await vi.advanceTimersByTimeAsync(TTL_MS / 3);
    expect(directory.entries.map(({ id, number }) => [id, number])).toEqual([
      ['5.1', '5.1'],
      ['foreign', null],
    ]);
  });

  it('gives two devices with the same channel different ids, which stay as they are', async () => {
    const first = new Provider('first', [offer('5.1', '1234ABC2-5.1')]);
    const second = new Provider('second', [offer('5.1', '105404BE-5.1'), offer('7.1', '105404BE-7.1')]);
    await start(new Provider('configuration', [offer('7.1')]), first, second);
    expect(ids()).toEqual(['7.1', '5.1', '105404BE-5.1', '105404BE-7.1']);
    first.says = [];
    await vi.advanceTimersByTimeAsync(TTL_MS);
    expect(ids()).toEqual(['7.1', '105404BE-5.1', '105404BE-7.1']);
  });

  it('is silent once it is disposed, even if a read is under way', async () => {
    const provider = new Provider('device');
    const starting = start(provider);
    directory[Symbol.dispose]();
    await starting;
    await vi.advanceTimersByTimeAsync(TTL_MS);
    expect(failed).not.toHaveBeenCalled();
    expect(provider.asked).toBe(1);
  });

  it('makes one channel of the same number and name on two devices, with their sources in the order of the devices', async () => {
    const a = new Provider('A', [ofDevice('A', '5.1', 'Harbour News')]);
    const b = new Provider('B', [
      ofDevice('B', '5.1', 'HARBOUR news', { favorite: true }),
      ofDevice('B', '7.1', 'Sport'),
    ]);
    await start(a, b);
    expect(ids()).toEqual(['5.1', '7.1']);
    const [merged] = directory.entries;
    expect(merged).toMatchObject({ name: 'Harbour News', favorite: true, provider: 'A' });
    expect(merged?.sources.map(({ url }) => url)).toEqual(['http://A/5.1', 'http://B/5.1']);
    a.says = new Error('down');
    await vi.advanceTimersByTimeAsync(2 * TTL_MS);
    expect(staleIds()).toEqual([]);
    a.says = [ofDevice('A', '7.1', 'Other')];
    await vi.advanceTimersByTimeAsync(TTL_MS);
    expect(directory.entries.map(({ id, sources }) => [id, sources.length])).toEqual([
      ['A-7.1', 1],
      ['5.1', 1],
      ['7.1', 1],
    ]);
  });

  it('keeps the same number with another name apart, under ids that do not depend on who answers first', async () => {
    const a = new Provider('A');
    const b = new Provider('B', [ofDevice('B', '5.1', 'Other')]);
    const remembered = new Map([
      ['A-5.1', '5.1'],
      ['B-5.1', 'B-5.1'],
    ]);
    settings = {
      ids: {
        get: (own) => remembered.get(own),
        remember: (news) => {
          for (const [own, id] of news) remembered.set(own, id);
        },
      },
    };
    void start(a, b);
    await vi.advanceTimersByTimeAsync(0);
    expect(ids()).toEqual(['B-5.1']);
    a.says = [ofDevice('A', '5.1', 'Harbour News')];
    await vi.advanceTimersByTimeAsync(TTL_MS);
    expect(ids()).toEqual(['5.1', 'B-5.1']);
    expect(Object.fromEntries(remembered)).toEqual({ 'A-5.1': '5.1', 'B-5.1': 'B-5.1' });
  });

  it('gives a configured source its id, whoever had it before', async () => {
    const device = new Provider('A', [ofDevice('A', '5.1', 'Harbour News')]);
    await start(device);
    expect(ids()).toEqual(['5.1']);
    await directory.setProviders([new Provider('configuration', [offer('5.1')], 'configured', [offer('5.1')]), device]);
    expect(directory.entries.map(({ id, kind }) => [id, kind])).toEqual([
      ['5.1', 'configured'],
      ['A-5.1', 'device'],
    ]);
  });

  it('changes what the operator wants otherwise, by id before number, and says which names no channel', async () => {
    settings = {
      overrides: {
        '5.1': {
          name: 'News',
          favorite: true,
          backup: ['http://b/1', 'http://b/2'],
          guide: 'news.example',
          profile: 'web',
        },
        'A-7.1': { number: '70', name: 'By id' },
        '7.1': { name: 'By number' },
        '9.1': { enabled: false },
        '99.9': { name: 'Nobody' },
      },
    };
    const lineup = ['5.1', '7.1', '9.1'].map((number) => ofDevice('A', number, 'Name'));
    await start(new Provider('configuration', [offer('7.1')], 'configured'), new Provider('A', lineup));
    expect(directory.entries).toMatchObject([
      { id: '7.1', name: 'By number' },
      { id: '5.1', name: 'News', number: '5.1', favorite: true, guideId: 'news.example', profile: 'web' },
      { id: 'A-7.1', name: 'By id', number: '70' },
    ]);
    expect(directory.entries[1]?.sources.map(({ url }) => url)).toEqual(['http://A/5.1', 'http://b/1', 'http://b/2']);
    expect(directory.unusedOverrides).toEqual(['99.9']);
    expect(directory.kindOf('9.1')).toBe('device');
  });

  it('lists at once what was known before a provider was asked, as stale if it was so', async () => {
    const past = new Date(Date.now() - 1);
    const kept = ofDevice('A', '5.1', 'News', { updatedAt: past, expiresAt: past });
    void start(new Provider('A', undefined, 'device', [kept]));
    expect(changed).toHaveBeenCalledTimes(1);
    expect(staleIds()).toEqual(['5.1']);
    await vi.advanceTimersByTimeAsync(TTL_MS);
    expect(staleIds()).toEqual(['5.1']);
  });

  it('goes on with the providers that stay when they are changed: their channels, ids and clocks', async () => {
    const a = new Provider('A', [ofDevice('A', '5.1', 'News')]);
    await start(a, new Provider('B', [ofDevice('B', '7.1', 'Sport')]));
    await vi.advanceTimersByTimeAsync(TTL_MS / 3 - 1);
    const again = new Provider('A');
    void directory.setProviders([new Provider('C'), again]);
    expect(ids()).toEqual(['5.1']);
    await vi.advanceTimersByTimeAsync(1);
    expect([a.asked, again.asked]).toEqual([2, 0]);
    expect(changed.mock.calls.length).toBeGreaterThan(2);
  });
});
