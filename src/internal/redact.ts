import { createHash } from 'node:crypto';

/** Query parameters that carry a secret rather than name a source; compared by their letters and digits. */
const SECRET_PARAMETERS = new Set([
  'accesskey',
  'accesstoken',
  'accountkey',
  'apikey',
  'apitoken',
  'auth',
  'authkey',
  'authorization',
  'authtoken',
  'awsaccesskeyid',
  'bearer',
  'clientsecret',
  'credential',
  'credentials',
  'deviceauth',
  'hdnea',
  'hdntl',
  'hdnts',
  'hmac',
  'idtoken',
  'jwt',
  'loginpas',
  'loginuse',
  'pass',
  'passcode',
  'passphrase',
  'passwd',
  'password',
  'privatekey',
  'pubpasswd',
  'pubuser',
  'pw',
  'pwd',
  'refreshtoken',
  'secret',
  'secretkey',
  'securitytoken',
  'sessionid',
  'sessiontoken',
  'sig',
  'signature',
  'ticket',
  'token',
  'user',
  'username',
  'usr',
  'wmsauthsign',
  'xamzcredential',
  'xamzsecuritytoken',
  'xamzsignature',
  'xgoogcredential',
  'xgoogsignature',
  'xplextoken',
]);

/** Mostly a secret as well, but it may be all that tells one source from another: not shown, and known by its hash. */
const AMBIGUOUS_PARAMETERS = new Set(['key', 'streamkey']);

/** Secrets are looked for in what is encoded within what is encoded, down to this depth. */
const MAX_LEVELS = 3;

/** Whether a query parameter of this name is a credential, and names no source. */
export function isSecretParameter(name: string): boolean {
  return SECRET_PARAMETERS.has(lettersOf(name));
}

/** Whether a query parameter of this name may be a credential, and may name a source. */
export function isAmbiguousParameter(name: string): boolean {
  return AMBIGUOUS_PARAMETERS.has(lettersOf(name));
}

function lettersOf(name: string): string {
  return plain(name)
    .toLowerCase()
    .replace(/[-_.[\]\s]/g, '');
}

function plain(text: string): string {
  let decoded = text;
  for (let level = 0; level < MAX_LEVELS && decoded.includes('%'); level++) decoded = decodeOctets(decoded);
  return decoded;
}

/*
 * Each pattern is bounded where it could begin often, so that the time is linear in the text. A password may hold any
 * character that a careless operator puts there: after `user:` everything up to an `@` of the same word is taken for it.
 */
const USER_AND_PASSWORD = /([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s:/?#@]{0,256}:[^\s@]{0,256}@(?:[^\s/@]{0,256}@){0,16}/gi;
const USER = /([a-z][a-z0-9+.-]{0,30}:\/\/)(?:[^\s/?#@]{1,256}@){1,16}/gi;
const ENCODED_USER = /(%(?:25)*3A(?:%(?:25)*2F){2})[^\s&"'<>]{1,256}%(?:25)*40/gi;
const HEADER = /\b((?:proxy-)?authorization|cookie)(["']?\s{0,8}[:=]\s{0,8}["']?)[^\r\n"']+/gi;
const PARAMETER =
  /(?:[?&;/]|%(?:25)*(?:3F|26|3B)|_(?=password=))((?:(?!%(?:25)*(?:2F|3F|26|3B|3D))[^\s=&;?/#"'<>]){1,64})(?:=|%(?:25)*3D)/gi;
const VALUE = /[^\s&;#"'<>]*/y;

/**
 * Removes credentials from every URL in a text: the user and password before the `@`, and the values of query parameters
 * that carry secrets (`token`, `password`, `apikey`, `key`, `sig`, …); of `Authorization` and `Cookie` headers too. For
 * logs, error messages and command lines.
 *
 * It can not know a secret that is part of a path, and it rather removes too much than too little.
 *
 * @example
 * redactCredentials('rtsp://admin:hunter2@10.0.0.5/1'); // 'rtsp://***@10.0.0.5/1'
 */
export function redactCredentials(text: string): string {
  const visible = text
    .replace(USER_AND_PASSWORD, '$1***@')
    .replace(USER, '$1***@')
    .replace(ENCODED_USER, '$1***@')
    .replace(HEADER, '$1$2***');
  return replaceSecrets(visible, { parameter: PARAMETER, value: VALUE, secret: hidden, ambiguous: hidden });
}

const hidden = () => '***';

const SECRET_NAME = '(?:token|pass(?:word|wd|phrase|code)?|pwd|secret|credentials?|auth|key)';
/** `-pass 1` is of two passes, and `--no-auth` takes no value. */
const SECRET_OPTION = new RegExp(
  `(^|\\s)(--?(?!-|no-)[a-z0-9_-]{0,40}${SECRET_NAME}(?:=| (?!-)))(?!\\d(?:\\s|$))\\S+`,
  'gi',
);
const SECRET_VARIABLE = new RegExp(`(^|[\\s'"])([a-z0-9_]{0,40}${SECRET_NAME}=)[^\\s'"]+`, 'gi');
/** As of curl; two numbers are ids of a user and a group. */
const USER_OPTION = /(^|\s)((?:-u|--(?:proxy-)?user)(?:=| ))(?!\d+:\d+(?:\s|$))[^\s:]{1,256}:\S+/g;

/**
 * Of a command line, what options and variables that carry secrets are given as well: `--operator-token …`, `-u me:…`,
 * `API_KEY=…`. It can not know a secret of several words, nor one that has no name.
 */
export function redactCommand(command: string): string {
  return redactCredentials(command)
    .replace(SECRET_OPTION, '$1$2***')
    .replace(SECRET_VARIABLE, '$1$2***')
    .replace(USER_OPTION, '$1$2***');
}

/** As {@link redactCommand}, of arguments that are still apart: of several words the whole is hidden. */
export function redactArguments(args: readonly string[]): string[] {
  return args.map((arg, index) => {
    const option = args[index - 1] ?? '';
    const isHidden = /^-[^\s=]*$/.test(option) && redactCommand(`${option} ${arg}`).startsWith(`${option} ***`);
    return isHidden ? '***' : redactCommand(arg);
  });
}

interface Replacement {
  /** Global; its first group is the name, its end the beginning of the value. */
  readonly parameter: RegExp;
  /** Sticky. */
  readonly value: RegExp;
  /** What stands for the value of a secret, and of what may be one. */
  readonly secret: (value: string) => string;
  readonly ambiguous: (value: string) => string;
}

/** Only the value of a secret is passed over: that of another parameter may be a URL with secrets of its own. */
function replaceSecrets(text: string, { parameter, value, secret, ambiguous }: Replacement): string {
  let replaced = '';
  let end = 0;
  for (const { 0: match, 1: name = '', index } of text.matchAll(parameter)) {
    if (index < end) continue;
    const by = isSecretParameter(name) ? secret : isAmbiguousParameter(name) ? ambiguous : undefined;
    if (!by) continue;
    const start = index + match.length;
    value.lastIndex = start;
    const found = value.exec(text)?.[0] ?? '';
    replaced += text.slice(end, start) + by(found);
    end = start + found.length;
  }
  return replaced + text.slice(end);
}

/** Tells values apart without showing them, however they are encoded. */
export function disguised(value: string): string {
  const isDisguised = value === '' || /^~[0-9a-f]{16}$/.test(value);
  return isDisguised ? value : `~${createHash('sha256').update(plain(value)).digest('hex').slice(0, 16)}`;
}

/*
 * For a key nothing may be removed that tells sources apart, so that `http://proxy/http://camera:80/a@b` stays: what
 * follows the colon is a port. Cameras of one make have `/user=…_password=…_channel=1` for a path.
 */
const USERS_WITHIN =
  /(:\/\/)(?:[^:/?#@[]{0,256}:(?!\d*(?:[/?#|%]|$))[^@]{0,1024}@|[^/?#@]{0,1024}@)+|^[^:/?#@]+:(?!(?:%(?:25)*2F){2})[^/?#]*@/g;
const WITHIN = { secret: () => '', ambiguous: disguised };
const PARAMETER_WITHIN: Replacement = {
  parameter: /(?:^|[?&; _])([^=&;?#/ ]{1,64})=/g,
  value: /(?:(?!_(?:user|password|channel|stream)=)[^ &;#])*/y,
  ...WITHIN,
};
const SEGMENT_WITHIN: Replacement = {
  parameter: /\/([^=&;?#/ ]{1,64})=/g,
  value: /(?:(?!_(?:user|password|channel|stream)=)[^ &;?#/])*/y,
  ...WITHIN,
};

/** Removes user and password from URLs within a text, and from `user:password@host` at its beginning. */
export function withoutUsers(text: string): string {
  return text.includes('@') ? text.replace(USERS_WITHIN, '$1') : text;
}

/**
 * Removes credentials from a part of a URL, as little as possible: users and passwords of URLs within it, and values of
 * secret parameters, encoded or not; what may be one is replaced by its hash. What holds none is returned as it is.
 */
export function withoutCredentials(text: string, levels: number = MAX_LEVELS): string {
  if (!/[%=@]/.test(text)) return text;
  const visible = replaceSecrets(replaceSecrets(withoutUsers(text), SEGMENT_WITHIN), PARAMETER_WITHIN);
  const inner = levels > 0 ? decodeOctets(visible) : visible;
  if (inner === visible) return visible;
  const visibleInner = withoutCredentials(inner, levels - 1);
  return visibleInner === inner ? visible : encodeOctets(visibleInner);
}

/** What the octets of `%41` stand for, each as a character of its own: nothing gets lost if they are not valid UTF-8. */
export function decodeOctets(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** The inverse of {@link decodeOctets}. */
export function encodeOctets(text: string): string {
  return text.replace(
    /[^A-Za-z0-9._~-]/g,
    (octet) => `%${octet.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
