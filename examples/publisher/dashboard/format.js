const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const hour = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const dayAndClock = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const count = new Intl.NumberFormat();
const threeDigits = new Intl.NumberFormat(undefined, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

export const timeOf = (when) => {
  const date = new Date(when);
  if (Number.isNaN(date.getTime())) return 'an unknown time';
  return (date.toDateString() === new Date().toDateString() ? clock : dayAndClock).format(date);
};

/** Of a programme, which begins and ends on a minute. */
export const hourOf = (when) => hour.format(new Date(when));

export const bitrateOf = (bitsPerSecond) => {
  if (bitsPerSecond === undefined) return '–';
  if (bitsPerSecond < 1_000) return '0 kbit/s';
  if (bitsPerSecond < 999_500) return `${Math.round(bitsPerSecond / 1_000)} kbit/s`;
  return `${threeDigits.format(bitsPerSecond / 1_000_000)} Mbit/s`;
};

export const durationOf = (ms) => {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
};

export const countOf = (n) => count.format(n);

export const plural = (n, word) => `${countOf(n)} ${word}${n === 1 ? '' : 's'}`;
