import { PROFILES, type Profile } from '../config/schema.ts';

/** What is encoded for a profile: H.264 up to a height, unless it has sound alone, and AAC. */
export interface Recipe {
  readonly video?: { readonly height: number; readonly kilobits: number };
  readonly audio: { readonly kilobits: number };
}

/** A profile that encodes something. */
export type EncodedProfile = Exclude<Profile, 'copy'>;

export const RECIPES: Readonly<Record<EncodedProfile, Recipe>> = {
  web: { video: { height: 720, kilobits: 3_500 }, audio: { kilobits: 128 } },
  sd: { video: { height: 480, kilobits: 1_500 }, audio: { kilobits: 128 } },
  low: { video: { height: 360, kilobits: 600 }, audio: { kilobits: 96 } },
  tiny: { video: { height: 240, kilobits: 300 }, audio: { kilobits: 64 } },
  audio: { audio: { kilobits: 128 } },
};

/** The names by which players of an HDHomeRun ask for less, in `?transcode=`. */
const TRANSCODES: ReadonlyMap<string, Profile> = new Map([
  ['none', 'copy'],
  ['heavy', 'web'],
  ['internet720', 'web'],
  ['mobile', 'sd'],
  ['internet540', 'sd'],
  ['internet480', 'sd'],
  ['internet360', 'low'],
  ['internet240', 'tiny'],
]);

/** All names of `?transcode=`: those of the makers, and ours. */
export const TRANSCODE_NAMES: readonly string[] = [...new Set([...TRANSCODES.keys(), ...PROFILES])];

/** Whether a text names a profile. */
export function isProfile(name: string): name is Profile {
  return (PROFILES as readonly string[]).includes(name);
}

/** The profile for a name of `?transcode=`; undefined for one that there is not. */
export function profileOfTranscode(name: string): Profile | undefined {
  return TRANSCODES.get(name) ?? (isProfile(name) ? name : undefined);
}
