import { plural } from './format.js';
import { element, setShown, setText } from './page.js';

const KEY = 'holdfast-operator-token';
const WORDS = { restart: ['Restart', 'restarted'], stop: ['Stop', 'stopped'] };

/** Changes what runs, with the token that the operator types: it is kept for as long as this tab is open, and nowhere else. */
export class Operator {
  #model;
  #answer = () => {};

  constructor(model) {
    this.#model = model;
    element('ask-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    element('ask-cancel').addEventListener('click', () => element('ask').close());
    element('ask').addEventListener('close', () => this.#answer(undefined));
  }

  /** @returns what came of it, in words */
  async act(action, view) {
    const [verb, done] = WORDS[action];
    if (!this.#model.publisher?.operable) {
      await this.#ask({ title: `${verb} needs an operator token`, detail: HOW_TO_GET_ONE, needs: 'nothing' });
      return '';
    }
    for (let error = ''; ; ) {
      const token = await this.#agree(verb, view, error);
      if (token === undefined) return 'Nothing was changed.';
      const said = await post(`/api/channels/${encodeURIComponent(view.id)}/${action}`, token);
      if (said.ok) return `${view.name} was ${done}.`;
      if (![401, 403].includes(said.status)) return `${verb} failed: ${said.reason}`;
      remember(undefined);
      error = `The token was refused: ${said.reason}`;
    }
  }

  /** @returns the token, or undefined if it is not to be done */
  async #agree(verb, { name, viewers }, error) {
    const known = remembered();
    if (known && viewers === 0) return known;
    const whom = viewers > 0 ? `${plural(viewers, 'viewer')} ${viewers === 1 ? 'watches' : 'watch'} it now. ` : '';
    const what = known ? '' : 'The token is kept until this tab is closed.';
    return this.#ask({
      title: `${verb} ${name}?`,
      detail: `${whom}${what}`,
      needs: known ? 'consent' : 'token',
      error,
    });
  }

  #ask({ title, detail, needs, error = '' }) {
    setText(element('ask-title'), title);
    setText(element('ask-detail'), detail);
    setText(element('ask-error'), error);
    setShown(element('ask-token-field'), needs === 'token');
    setShown(element('ask-cancel'), needs !== 'nothing');
    element('ask-token').value = '';
    element('ask').showModal();
    if (needs === 'token') element('ask-token').focus();
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  #submit() {
    const field = element('ask-token');
    const typed = element('ask-token-field').hidden ? undefined : field.value.trim();
    if (typed === '') {
      setText(element('ask-error'), 'Type the operator token.');
      field.focus();
      return;
    }
    if (typed !== undefined) remember(typed);
    this.#answer(remembered() ?? '');
    element('ask').close();
  }
}

const HOW_TO_GET_ONE =
  'This publisher is read-only. Start it with --operator-token and a text of your choice, or put operatorToken into its ' +
  'configuration file; then this button asks for that text.';

async function post(path, token) {
  try {
    const response = await fetch(path, { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    const problem = response.ok ? {} : await response.json().catch(() => ({}));
    const reason = problem.detail ?? problem.title ?? `HTTP ${response.status}`;
    return { ok: response.ok, status: response.status, reason };
  } catch {
    return { ok: false, status: 0, reason: 'the publisher does not answer' };
  }
}

/** Where a browser keeps nothing (it is forbidden, or full) it is asked for again after a reload. */
let kept;

function remembered() {
  try {
    return sessionStorage.getItem(KEY) ?? kept;
  } catch {
    return kept;
  }
}

function remember(token) {
  kept = token;
  try {
    if (token === undefined) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // It is kept here.
  }
}
