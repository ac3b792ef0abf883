import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { complain } from './complaint.ts';
import { complaintIn, type Fields, type Layer } from './layer.ts';

/** The tokens, and what systemd's `LoadCredential=` calls them. */
const TOKENS = { operatorToken: 'operator-token', publishToken: 'publish-token' } as const;

/**
 * The tokens that hold: of the last layer that has one, in itself or by its file, else of the credentials that the
 * service manager hands over.
 */
export function tokensOf(layers: readonly Layer[], env: NodeJS.ProcessEnv): Pick<Layer, 'fields' | 'complaints'> {
  const fields: Fields = {};
  const complaints: string[] = [];
  for (const [option, credential] of Object.entries(TOKENS)) {
    try {
      Object.assign(fields, tokenOf(option, layers) ?? { [option]: credentialOf(credential, env) });
    } catch (error) {
      complaints.push(complaintIn(error));
    }
  }
  return { fields, complaints };
}

/** Undefined where no layer has it. A file that is no path is left to the schema. */
function tokenOf(option: string, layers: readonly Layer[]): Fields | undefined {
  const file = `${option}File`;
  const layer = layers.findLast(({ fields }) => fields[option] !== undefined || fields[file] !== undefined);
  if (!layer) return undefined;
  const { [option]: token, [file]: path } = layer.fields;
  if (token !== undefined && path !== undefined) throw bothGiven(layer, option, file);
  // The file that another layer names does not hold.
  if (token !== undefined) return { [option]: token, [file]: undefined };
  return typeof path === 'string' && path !== '' ? { [option]: contentOf(path, layer.where([file])) } : {};
}

function bothGiven(layer: Layer, option: string, file: string): Error {
  return complain(`${layer.where([option])} and ${layer.where([file])} are both given; give one`);
}

function credentialOf(name: string, { CREDENTIALS_DIRECTORY }: NodeJS.ProcessEnv): string | undefined {
  if (!CREDENTIALS_DIRECTORY) return undefined;
  const path = join(CREDENTIALS_DIRECTORY, name);
  try {
    return contentOf(path, `the credential ${name}`);
  } catch (error) {
    if ((error as { cause?: NodeJS.ErrnoException }).cause?.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Without the line break that editors put at the end. What it holds is in no complaint. */
function contentOf(path: string, where: string): string {
  const token = readToken(path, where).trim();
  if (/^[\x21-\x7e]{16,1024}$/.test(token)) return token;
  throw complain(`${where}: ${path} must hold a token of at least 16 characters, without blanks, and nothing else`);
}

function readToken(path: string, where: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const complaint = complain(`${where}: ${(error as Error).message}`);
    complaint.cause = error;
    throw complaint;
  }
}
