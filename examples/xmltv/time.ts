/** Names of zones that are seen in documents, in minutes east of UTC; the format's own form is `+0100`. */
const ZONES: Readonly<Record<string, number>> = {
  ...{ '': 0, UTC: 0, GMT: 0, Z: 0, WET: 0, BST: 60, IST: 60, WEST: 60, CET: 60, CEST: 120, MEZ: 60, MESZ: 120 },
  ...{ EET: 120, EEST: 180, AST: -240, ADT: -180, EST: -300, EDT: -240, CST: -360, CDT: -300, MST: -420, MDT: -360 },
  ...{ PST: -480, PDT: -420, AKST: -540, AKDT: -480, HST: -600 },
};

/**
 * The moment that `20260131203000 +0100` means, in ms since 1970. What is left out at the end is the earliest that it can
 * be, without a zone it is UTC. `undefined` for what is no time.
 */
export function parseTime(text: string): number | undefined {
  const [, digits = '', zone = ''] = /^\s*(\d{4}(?:\d\d){0,5})\s*(\S*)\s*$/.exec(text) ?? [];
  const offset = zoneOf(zone);
  if (digits === '' || offset === undefined) return undefined;
  const [year = 0, ...rest] = [digits.slice(0, 4), ...(digits.slice(4).match(/../g) ?? [])].map(Number);
  const [month = 1, day = 1, hour = 0, minute = 0, second = 0] = rest;
  const isDay = month >= 1 && month <= 12 && new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day;
  // A leap second is the first of the next minute.
  const isTime = hour < 24 && minute < 60 && second <= 60;
  return isDay && isTime ? Date.UTC(year, month - 1, day, hour, minute, second) - offset * 60_000 : undefined;
}

function zoneOf(zone: string): number | undefined {
  const [, sign, hours, minutes] = /^([+-])(\d\d):?(\d\d)$/.exec(zone) ?? [];
  if (sign === undefined) return Object.hasOwn(ZONES, zone.toUpperCase()) ? ZONES[zone.toUpperCase()] : undefined;
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

/** `20260131193000 +0000` */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, '')} +0000`;
}
