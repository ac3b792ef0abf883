import { redactCredentials } from 'holdfast';
import type { z } from 'zod';
import { UsageError } from './flags.ts';
import { didYouMean } from './nearest.ts';
import { OPTIONS } from './options.ts';
import { OVERRIDE_FIELDS, PUSH_FIELDS, SOURCE_FIELDS } from './schema.ts';

type Issue = z.core.$ZodIssue;

/** Of the objects in the configuration, by the option that has them. */
const FIELDS_OF: Readonly<Record<string, readonly string[]>> = {
  source: SOURCE_FIELDS,
  channel: OVERRIDE_FIELDS,
  push: PUSH_FIELDS,
};

export function complain(text: string): UsageError {
  return new UsageError(text);
}

/** What is wrong, in the terms of whoever wrote it: where, what is allowed, and what was received. */
export function complaintOf(given: Issue, where: (path: readonly PropertyKey[]) => string): string {
  const issue = deepest(given);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${where([...issue.path, key])} is unknown; ${suggestion(key, issue)}`).join('\n');
  }
  const message = issue.code === 'invalid_key' ? issue.issues[0]?.message : issue.message;
  return `${where(issue.path)} must be ${message}, received ${isSecret(issue) ? 'another' : show(issue.input)}`;
}

export function show(value: unknown): string {
  return value === undefined ? 'nothing' : redactCredentials(JSON.stringify(value)).slice(0, 200);
}

function suggestion(key: string, { path }: Issue): string {
  const known = FIELDS_OF[String(path[0])] ?? Object.keys(OPTIONS);
  return `${didYouMean(key, known)}known: ${known.join(', ')}`;
}

/** Of a union, the complaint of the branch that went further into the value. */
function deepest(issue: Issue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().find(({ path, code }) => path.length > 0 || code === 'unrecognized_keys');
  return inner ? { ...inner, path: [...issue.path, ...inner.path] } : issue;
}

function isSecret({ path }: Issue): boolean {
  return /Token$/.test(String(path[0])) || (path[0] === 'push' && path.at(-1) === 'url');
}
