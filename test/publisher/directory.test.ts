import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ChannelProvider, Directory, isStale, type Offer } from '../../examples/publisher/directory/directory.ts';

const TTL_MS = 30_000;

/** Says what it is told to say, hangs if that is nothing. */
class Provider implements ChannelProvider {
  readonly name: string;
  says: readonly Offer[] | Error | undefined;
  asked = 0;

  constructor(name: string, says?: readonly Offer[] | Error) {
    this.name = name;
    this.says = says;
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

let directory: Directory;
const failed = vi.fn();
const refreshed = vi.fn();

function start(...providers: Provider[]): Promise<void> {
  directory = new Directory(providers, { failed, refreshed }, TTL_MS);
  return directory.start();
}

const ids = () => directory.entries.map(({ id }) => id);
const staleIds = () => directory.entries.filter((entry) => isStale(entry)).map(({ id }) => id);

describe('the directory', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(() => {
    directory[Symbol.dispose]();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
    vi.clearAllMocks();
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
});
