/** Checks of options: a bad one throws an error that names the option and the value received; nothing is coerced. */

interface NumberRange {
  readonly min?: number;
  readonly max?: number;
  readonly integer?: boolean;
}

/** Returns `value` if it is a number in range. `Infinity` is in range unless `max` says otherwise. */
export function checkNumber(name: string, value: unknown, range: NumberRange = {}): number {
  if (typeof value !== 'number') throw new TypeError(`${name} must be a number, received ${show(value)}`);
  const { min = 0, max = Number.POSITIVE_INFINITY, integer = false } = range;
  const whole = !integer || Number.isInteger(value) || value === Number.POSITIVE_INFINITY;
  if (value >= min && value <= max && whole) return value;
  const finite = max === Number.MAX_VALUE ? ' and finite' : '';
  const bounds = max >= Number.MAX_VALUE ? `at least ${min}${finite}` : `from ${min} to ${max}`;
  throw new RangeError(`${name} must be ${integer ? 'a whole number' : 'a number'} ${bounds}, received ${show(value)}`);
}

/** Returns `value` if it is a finite number above 0, whole or not. */
export function checkPositive(name: string, value: unknown, max: number = Number.MAX_VALUE): number {
  if (typeof value !== 'number') throw new TypeError(`${name} must be a number, received ${show(value)}`);
  if (value > 0 && value <= max) return value;
  const bounds = max === Number.MAX_VALUE ? 'and finite' : `and at most ${max}`;
  throw new RangeError(`${name} must be above 0 ${bounds}, received ${show(value)}`);
}

/** Returns `value` if it is one of `allowed`. */
export function checkOneOf<const T>(name: string, value: unknown, allowed: readonly T[]): T {
  if (allowed.includes(value as T)) return value as T;
  throw new TypeError(`${name} must be ${allowed.map(show).join(' or ')}, received ${show(value)}`);
}

/** Returns `value` if it is a string that is not empty. */
export function checkString(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new TypeError(`${name} must be a string that is not empty, received ${show(value)}`);
}

/** Returns `value` if it is an AbortSignal or absent. */
export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value;
  throw new TypeError(`signal must be an AbortSignal, received ${show(value)}`);
}

/** Refuses an option that this version does not know: a typing error must not be a silent default. */
export function checkKnown(what: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`the options of ${what} must be an object, received ${show(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`${what} has no option ${name}; it takes ${known.join(', ')}`);
  }
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) return `an instance of ${value.constructor?.name ?? 'Object'}`;
  return String(value);
}
