/** What a check of the doctor came to. */
export interface Check {
  readonly name: string;
  /** `degraded`: holdfast works, but for what is said. */
  readonly state: 'ok' | 'degraded' | 'broken';
  readonly found: string;
  /** What to do. */
  readonly advice?: string;
}

export function ok(name: string, found: string): Check {
  return { name, state: 'ok', found };
}

export function degraded(name: string, found: string, advice: string): Check {
  return { name, state: 'degraded', found, advice };
}

export function broken(name: string, found: string, advice: string): Check {
  return { name, state: 'broken', found, advice };
}
