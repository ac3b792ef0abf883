/** Query parameters that carry a secret rather than name a source. */
const SECRET_PARAMETERS = new Set([
  'access_token',
  'api_key',
  'apikey',
  'auth',
  'authorization',
  'deviceauth',
  'pass',
  'passwd',
  'password',
  'pwd',
  'secret',
  'sig',
  'signature',
  'token',
  'user',
  'username',
]);

/** Whether a query parameter of this name is a credential. */
export function isSecretParameter(name: string): boolean {
  return SECRET_PARAMETERS.has(name.toLowerCase());
}

const USERINFO = /([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#"'<>]*@/gi;
const HEADER = /\b((?:proxy-)?authorization|cookie)(\s*[:=]\s*)[^\r\n"']+/gi;
const PARAMETER = /([?&;])([^\s=&;#"'<>]+)=([^\s&;#"'<>]*)/g;

/**
 * Removes credentials from every URL in a text: the user and password before the `@`, and the values of query
 * parameters that carry secrets (`token`, `password`, `apikey`, …); of `Authorization` and `Cookie` headers too. For logs, error messages and command lines.
 *
 * It can not know a secret that is part of a path.
 *
 * @example
 * redactCredentials('rtsp://admin:hunter2@10.0.0.5/1'); // 'rtsp://***@10.0.0.5/1'
 */
export function redactCredentials(text: string): string {
  return text
    .replace(USERINFO, '$1***@')
    .replace(HEADER, '$1$2***')
    .replace(PARAMETER, (all, start: string, name: string) => (isSecretParameter(name) ? `${start}${name}=***` : all));
}
