import { after } from '../internal/time.ts';
import type { Lease, PooledChild } from './lease.ts';

/** The leases whose children are not gone yet, the oldest first. */
export class Leases {
  readonly #all = new Map<PooledChild, { readonly lease: Lease<PooledChild>; readonly leaking: Disposable }>();
  readonly #leakAfterMs: number;
  readonly #leaks: (lease: Lease<PooledChild>) => void;

  /** @param leaks told of each that is held for longer than `leakAfterMs` */
  constructor(leakAfterMs: number | undefined, leaks: (lease: Lease<PooledChild>) => void) {
    this.#leakAfterMs = leakAfterMs ?? Number.POSITIVE_INFINITY;
    this.#leaks = leaks;
  }

  get size(): number {
    return this.#all.size;
  }

  of(child: PooledChild): Lease<PooledChild> | undefined {
    return this.#all.get(child)?.lease;
  }

  add(lease: Lease<PooledChild>): void {
    const leaking = after(this.#leakAfterMs, () => this.#leaks(lease), { idle: true });
    this.#all.set(lease.child, { lease, leaking });
  }

  /** Its child is gone. */
  delete(child: PooledChild): void {
    this.#all.get(child)?.leaking[Symbol.dispose]();
    this.#all.delete(child);
  }

  *[Symbol.iterator](): Generator<Lease<PooledChild>> {
    for (const { lease } of this.#all.values()) yield lease;
  }
}
