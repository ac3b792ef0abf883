import { channelText, programmeText, TV_END, tvBegin, type XmlElement } from '../xmltv/index.ts';
import type { SimulatedChannel } from './simulated-device.ts';

const HOUR_MS = 3_600_000;
const SLOT_MS = HOUR_MS / 2;
const BEFORE_MS = 3 * HOUR_MS;
const AHEAD_MS = 48 * HOUR_MS;

/** What is on, in turn; each is as many half hours long as it says. */
const SHOWS = [
  {
    title: 'The Harbour Report',
    about: 'What came in with the tide, and what left with it.',
    category: 'News',
    slots: 1,
  },
  { title: 'Granite Cup', about: 'The second leg, from the old quarry.', category: 'Sports', slots: 2 },
  { title: 'The Lighthouse Keeper', about: 'A keeper finds that the lamp was never out.', category: 'Movie', slots: 3 },
  { title: 'Colour Bars', about: 'An hour of test pictures, without commentary.', category: 'Arts', slots: 2 },
  { title: 'Weather for Sailors', about: 'Wind, waves and visibility until tomorrow.', category: 'Weather', slots: 1 },
] as const;
const ROUND_SLOTS = SHOWS.reduce((sum, { slots }) => sum + slots, 0);

/** An XMLTV document of two days, as the makers' service gives one for a device; the same again for the same half hour. */
export function simulatedGuide(channels: readonly SimulatedChannel[], nowMs: number): string {
  const ids = channels.map(({ number }) => `${number}.simulated`);
  const heads = channels.map(({ number, name }, index) =>
    channelText({
      kind: 'channel',
      id: ids[index] as string,
      elements: [element('display-name', name), element('display-name', number)],
    }),
  );
  const programmes = channels.flatMap((_, index) => programmesOf(ids[index] as string, index, nowMs));
  return [tvBegin({ 'generator-info-name': 'holdfast simulated tuner' }), ...heads, ...programmes, TV_END].join('');
}

/** The rounds of all channels began in 1970, each with another show. */
function programmesOf(channel: string, offset: number, nowMs: number): string[] {
  const roundMs = ROUND_SLOTS * SLOT_MS;
  const programmes: string[] = [];
  let startMs = Math.floor((nowMs - BEFORE_MS) / roundMs) * roundMs;
  for (let turn = offset; startMs < nowMs + AHEAD_MS; turn++) {
    const { title, about, category, slots } = SHOWS[turn % SHOWS.length] as (typeof SHOWS)[number];
    const stopMs = startMs + slots * SLOT_MS;
    const episode = Math.floor(startMs / HOUR_MS) % 1_000;
    const elements = [element('title', title), element('desc', about), element('category', category)];
    const number = element('episode-num', `S01E${episode}`, { system: 'onscreen' });
    const programme = { channel, startMs, stopMs, attributes: {}, elements: [...elements, number] };
    if (stopMs > nowMs - BEFORE_MS) programmes.push(programmeText({ kind: 'programme', ...programme }));
    startMs = stopMs;
  }
  return programmes;
}

function element(name: string, text: string, attributes: Readonly<Record<string, string>> = {}): XmlElement {
  return { name, attributes, children: [text] };
}
