import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/**
 * Where what outlives a restart is kept: as configured, else what the service manager says (of several, the first), else
 * below the home of the user, by the XDG base directory specification.
 */
export function stateDir(
  config: { readonly stateDir?: string | undefined },
  env: NodeJS.ProcessEnv = process.env,
): string {
  const { STATE_DIRECTORY = '', XDG_STATE_HOME = '' } = env;
  const [given = ''] = STATE_DIRECTORY.split(':');
  if (config.stateDir !== undefined) return resolve(config.stateDir);
  if (given !== '') return given;
  // By the specification a relative path there is to be ignored.
  const home = XDG_STATE_HOME.startsWith('/') ? XDG_STATE_HOME : join(homedir(), '.local', 'state');
  return join(home, 'holdfast-publisher');
}
