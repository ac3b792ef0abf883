/** Query parameters that carry a secret rather than name a source; compared without `-` and `_`. */
const SECRET_PARAMETERS = new Set([
  'accesstoken',
  'apikey',
  'auth',
  'authorization',
  'authtoken',
  'clientsecret',
  'deviceauth',
  'pass',
  'passwd',
  'password',
  'pwd',
  'refreshtoken',
  'secret',
  'sig',
  'signature',
  'token',
  'user',
  'username',
  'xamzcredential',
  'xamzsecuritytoken',
  'xamzsignature',
]);

/** Whether a query parameter of this name is a credential. */
export function isSecretParameter(name: string): boolean {
  return SECRET_PARAMETERS.has(decoded(name).toLowerCase().replace(/[-_]/g, ''));
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/*
 * Each pattern is bounded where it could begin often, so that the time is linear in the text. A password may hold any
 * character that a careless operator puts there: after `user:` everything up to an `@` of the same word is taken for it.
 */
const USER_AND_PASSWORD = /([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s:/?#@]{0,256}:[^\s@]{0,256}@(?:[^\s/@]{0,256}@)?/gi;
const USER = /([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#@]{1,256}@/gi;
const HEADER = /\b((?:proxy-)?authorization|cookie)(["']?\s{0,8}[:=]\s{0,8}["']?)[^\r\n"']+/gi;
const PARAMETER = /([?&;])([^\s=&;?#"'<>]{1,64})=([^\s&;#"'<>]*)/g;

/**
 * Removes credentials from every URL in a text: the user and password before the `@`, and the values of query parameters
 * that carry secrets (`token`, `password`, `apikey`, …); of `Authorization` and `Cookie` headers too. For logs, error
 * messages and command lines.
 *
 * It can not know a secret that is part of a path, and it rather removes too much than too little.
 *
 * @example
 * redactCredentials('rtsp://admin:hunter2@10.0.0.5/1'); // 'rtsp://***@10.0.0.5/1'
 */
export function redactCredentials(text: string): string {
  return text
    .replace(USER_AND_PASSWORD, '$1***@')
    .replace(USER, '$1***@')
    .replace(HEADER, '$1$2***')
    .replace(PARAMETER, (all, start: string, name: string) => (isSecretParameter(name) ? `${start}${name}=***` : all));
}
