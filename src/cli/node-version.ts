const NEEDED = { major: 22, minor: 12 };

/** Why this version of Node can't run holdfast, and what to do; undefined if it can. */
export function complaintAboutNode(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > NEEDED.major || (major === NEEDED.major && minor >= NEEDED.minor)) return undefined;
  return `this is Node ${version}, but Node ${NEEDED.major}.${NEEDED.minor} or later is needed: install it from https://nodejs.org`;
}
