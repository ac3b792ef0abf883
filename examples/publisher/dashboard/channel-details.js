import {
  holderText,
  isHeldByAnother,
  orphanText,
  programmesText,
  refusalText,
  stateOf,
  stateText,
} from './channel-words.js';
import { bitrateOf, countOf, timeOf } from './format.js';
import { isActive } from './model.js';
import { announce, element, fromTemplate, setAttribute, setShown, setText } from './page.js';

const part = (name) => element(`details-${name}`);

/** All that is known of one channel, and what can be done to it. */
export class ChannelDetails {
  #model;
  #operator;
  #id;

  constructor(model, operator) {
    this.#model = model;
    this.#operator = operator;
    part('close').addEventListener('click', () => element('details').close());
    part('copy').addEventListener('click', () => this.#copy());
    part('url').addEventListener('focus', () => part('url').select());
    for (const action of ['restart', 'stop']) part(action).addEventListener('click', () => this.#act(action));
  }

  open(id) {
    this.#id = id;
    setText(part('said'), '');
    element('details').showModal();
    this.update();
  }

  update() {
    const model = this.#model.channels.get(this.#id);
    if (!model) {
      if (element('details').open) element('details').close();
      return;
    }
    const { view, rates, trace } = model;
    const active = isActive(view);
    setText(element('details-title'), [view.number, view.name].filter(Boolean).join(' '));
    setText(part('viewers'), countOf(view.viewers));
    setText(part('in'), active ? bitrateOf(rates.in) : '–');
    setText(part('out'), active ? bitrateOf(rates.out) : '–');
    setText(part('continuity'), view.continuityErrors === undefined ? '–' : countOf(view.continuityErrors));
    setText(part('openings'), countOf(view.openings));
    setText(part('failures'), countOf(view.failures));
    setAttribute(part('url'), 'value', new URL(view.url, location.href).href);
    setText(part('source'), view.reading ? readingText(view.reading) : view.source);
    setText(part('codecs'), view.codecs?.join(', ') || 'known once it is read');
    setText(part('programme'), programmesText(view) || 'unknown');
    element('details').classList.toggle('active', active);
    part('trace').setAttribute('points', pointsOf(trace));
    showHolder(view);
    showError(view.lastError);
    // Of one alone all is said by then.
    showRows('sources', view.sources?.length > 1 ? view.sources : [], sourceRow);
    showRows('switches', [...(view.switches ?? [])].reverse(), switchRow);
    this.tick();
  }

  tick() {
    const model = this.#model.channels.get(this.#id);
    if (!model || !element('details').open) return;
    const { nowMs } = this.#model;
    const refusal = refusalText(model.view, nowMs);
    setAttribute(element('details'), 'data-state', stateOf(model.view));
    setText(element('details-state'), stateText(model.view, nowMs));
    setShown(part('refusal'), refusal !== undefined);
    setText(part('refusal'), refusal ?? '');
  }

  async #act(action) {
    const { view } = this.#model.channels.get(this.#id);
    setText(part('said'), '');
    setText(part('said'), await this.#operator.act(action, view));
  }

  async #copy() {
    const copied = await copyFrom(part('url'));
    setText(part('copy-text'), copied ? 'Copied' : 'Ctrl+C');
    announce(copied ? 'Stream address copied' : 'The address is selected: press Ctrl+C to copy it');
    setTimeout(() => setText(part('copy-text'), 'Copy'), 2_000);
  }
}

const readingText = ({ source, resource }) => (resource ? `${source} (${resource})` : source);

function showHolder(view) {
  const { holder } = view;
  const who = isHeldByAnother(view) ? 'another process' : 'this publisher';
  const text = holder
    ? `${who}: ${holderText(holder)}\n${holder.command}\n${orphanText(holder)}`
    : 'nobody; the source is free';
  setText(part('holder'), text.trim());
  part('holder').classList.toggle('held-by-another', isHeldByAnother(view));
}

function showError(error) {
  setShown(part('error'), Boolean(error));
  if (!error) return;
  setText(part('error-title'), `${timeOf(error.at)} ${error.title}`);
  setText(part('error-detail'), error.detail);
  setText(part('error-advice'), error.advice ? `What to do: ${error.advice}` : '');
}

const sourceRow = ({ source, state, isReading, why, until }) => ({
  title: source,
  detail: [isReading ? 'read now' : '', state, why, until && `behind the others until ${timeOf(until)}`]
    .filter(Boolean)
    .join(' · '),
});

const switchRow = ({ at, from, to, why }) => ({ title: `${timeOf(at)} ${why}`, detail: `${from ?? 'start'} → ${to}` });

function showRows(name, items, describe) {
  const list = part(name);
  setShown(part(`${name}-title`), items.length > 0);
  while (list.children.length > items.length) list.lastElementChild.remove();
  items.forEach((item, index) => {
    const row = list.children[index] ?? list.appendChild(fromTemplate('row-template').root);
    const { title, detail } = describe(item);
    setText(row.querySelector('[data-part=title]'), title);
    setText(row.querySelector('[data-part=detail]'), detail);
  });
}

function pointsOf(trace) {
  const top = Math.max(...trace, 1);
  const first = 60 - trace.length;
  return trace.map((value, index) => `${first + index},${(19 - (value / top) * 17).toFixed(1)}`).join(' ');
}

/** Only a secure context (https or localhost) has a clipboard; elsewhere the old command still works from a click. */
async function copyFrom(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.select();
    return document.execCommand('copy');
  }
}
