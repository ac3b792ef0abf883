import { checkKnown, checkNumber, checkPositive, checkString, show } from '../internal/options.ts';
import { shielded } from '../internal/shielded.ts';

/** When a circuit opens, for how long, and what counts. */
export interface CircuitBreakerOptions {
  /**
   * For logs and metrics; the metric's series goes when the breaker is disposed of.
   * @default 'circuit'
   */
  readonly name?: string | undefined;
  /**
   * So many failures within `windowMs` open it; successes between them do not matter. `Infinity` for none.
   * @default 5, or Infinity if `failureRate` or `slowCallRate` is given
   */
  readonly failureThreshold?: number | undefined;
  /**
   * How far back failures and rates are counted.
   * @default 300_000
   */
  readonly windowMs?: number | undefined;
  /**
   * How long it stays open before a probe is let through: milliseconds, or a function of how often it has opened since it
   * was last closed, from 1.
   * @default 120_000
   * @example (openings) => Math.min(30_000 * 2 ** (openings - 1), 600_000)
   */
  readonly cooldownMs?: number | ((openings: number) => number) | undefined;
  /**
   * How many calls are let through half-open, and how many of them have to succeed for it to close.
   * @default 1
   */
  readonly halfOpenProbes?: number | undefined;
  /**
   * Whether an error tells that what is called does not work. One that does not is a success: it has answered.
   * @default () => true
   */
  readonly isFailure?: ((error: unknown) => boolean) | undefined;
  /**
   * No rule opens it before so many calls ended within the window, or were slow while they went on.
   * @default 10 for the rates, none for `failureThreshold`
   */
  readonly minimumCalls?: number | undefined;
  /** This part of the calls within the window failed: it opens. More than 0, at most 1. */
  readonly failureRate?: number | undefined;
  /** A call that takes so long is slow, also while it still runs. */
  readonly slowCallMs?: number | undefined;
  /**
   * This part of the calls within the window was slow: it opens. More than 0, at most 1.
   * @default 1 if `slowCallMs` is given
   */
  readonly slowCallRate?: number | undefined;
}

/** The rules, complete: one that is not asked for has an infinite bound. */
export interface TripRules {
  readonly failureThreshold: number;
  readonly minimumFailureCalls: number;
  readonly windowMs: number;
  readonly minimumCalls: number;
  readonly failureRate: number;
  readonly slowCallMs: number;
  readonly slowCallRate: number;
  /** Whether a rule needs to know how many calls there were. */
  readonly countsCalls: boolean;
}

export interface CircuitRules extends TripRules {
  readonly halfOpenProbes: number;
  cooldownMs(openings: number): number;
}

export interface BreakerOptions {
  readonly name: string;
  readonly isFailure: (error: unknown) => boolean;
  readonly rules: CircuitRules;
}

const KNOWN = [
  ...['name', 'failureThreshold', 'windowMs', 'cooldownMs', 'halfOpenProbes', 'isFailure'],
  ...['minimumCalls', 'failureRate', 'slowCallMs', 'slowCallRate'],
];

export function resolveOptions(options: CircuitBreakerOptions): BreakerOptions {
  checkKnown('CircuitBreaker', options, KNOWN);
  const { isFailure = () => true } = options;
  if (typeof isFailure !== 'function') throw new TypeError(`isFailure must be a function, received ${show(isFailure)}`);
  return { name: checkString('name', options.name ?? 'circuit'), isFailure, rules: resolveRules(options) };
}

function resolveRules(options: CircuitBreakerOptions): CircuitRules {
  const { slowCallMs, slowCallRate, minimumCalls } = options;
  if (slowCallRate !== undefined && slowCallMs === undefined) {
    throw new TypeError(
      `slowCallRate needs slowCallMs, which tells when a call is slow; received ${slowCallRate} alone`,
    );
  }
  const failureRate = checkRate('failureRate', options.failureRate);
  const slowRate = checkRate('slowCallRate', slowCallMs === undefined ? undefined : (slowCallRate ?? 1));
  const hasRates = Number.isFinite(failureRate) || Number.isFinite(slowRate);
  const whole = { integer: true, min: 1 };
  const atLeast = minimumCalls === undefined ? undefined : checkNumber('minimumCalls', minimumCalls, whole);
  return {
    failureThreshold: checkNumber(
      'failureThreshold',
      options.failureThreshold ?? (hasRates ? Number.POSITIVE_INFINITY : 5),
      whole,
    ),
    windowMs: checkPositive('windowMs', options.windowMs ?? 300_000, Number.POSITIVE_INFINITY),
    halfOpenProbes: checkNumber('halfOpenProbes', options.halfOpenProbes ?? 1, { ...whole, max: 1_000 }),
    cooldownMs: checkCooldown(options.cooldownMs ?? 120_000),
    minimumCalls: atLeast ?? 10,
    minimumFailureCalls: atLeast ?? 0,
    failureRate,
    slowCallMs: slowCallMs === undefined ? Number.POSITIVE_INFINITY : checkPositive('slowCallMs', slowCallMs),
    slowCallRate: slowRate,
    countsCalls: hasRates || atLeast !== undefined,
  };
}

function checkRate(name: string, rate: number | undefined): number {
  return rate === undefined ? Number.POSITIVE_INFINITY : checkPositive(name, rate, 1);
}

/** One that is infinite would be an isolation. */
const FINITE = { max: Number.MAX_VALUE };

/** A function that goes wrong later does not wedge the circuit: its last good result holds, and its error is an uncaught one. */
function checkCooldown(cooldown: number | ((openings: number) => number)): (openings: number) => number {
  if (typeof cooldown !== 'function') {
    const ms = checkNumber('cooldownMs', cooldown, FINITE);
    return () => ms;
  }
  const checked = (openings: number) => checkNumber(`cooldownMs(${openings})`, cooldown(openings), FINITE);
  let ms = checked(1);
  return (openings) => {
    shielded(() => {
      ms = checked(openings);
    });
    return ms;
  };
}
