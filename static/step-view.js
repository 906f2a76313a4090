/**
 * The view of one step of a reply: a thought, a call with its result, or a value of the application's own.
 *
 * A step is a line that unfolds (`details`). Its contents are laid out when it is unfolded, and not before: there may be
 * a great deal of them. While a model thinks, its last lines stand below the line.
 *
 * Nothing of it is announced: a screen reader reads the line when its user comes to it, and the contents when the user
 * unfolds them.
 *
 * @import { Step } from './parts.js'
 * @import { Translate } from './translate.js'
 *
 * @typedef {{label: string, text: string, grows: boolean}} Section
 *   One of a step's contents. `label` stands above it, unless it is empty; `grows` is whether a longer text begins with
 *   the one before.
 */
import { visibleName } from './addresses.js';
import { find, setText } from './elements.js';
import { GrowingText } from './growing-text.js';
import { prettyJSON, valueText } from './json-text.js';
import { stateOf } from './parts.js';
import { stopWhereItScrolls } from './scroll-stops.js';
import { durationText } from './translate.js';

/** The time between two updates of the time that a thought or a call has taken so far. */
const TICK_MS = 1000;
/** The length up to which an application's text stands in the step's line. */
const SHORT_LENGTH = 80;

/** The view of one step, in an element made from `#step-template`. */
export class StepView {
  /** The element that shows it. */
  element;
  #translate;
  #details;
  #summary;
  #bare;
  #body;
  #peek;
  #peekText;
  /** What is laid out of each section. @type {{element: HTMLElement, growing: GrowingText, text: string}[]} */
  #shown = [];
  /** What was drawn last. @type {{step: Step, running: boolean} | null} */
  #last = null;
  #tick = 0;

  /** @param {Translate} translate */
  constructor(translate) {
    const content = find('#step-template', HTMLTemplateElement).content.cloneNode(true);
    this.element = find('.step', HTMLElement, /** @type {DocumentFragment} */ (content));
    this.#translate = translate;
    this.#details = find('details', HTMLDetailsElement, this.element);
    this.#summary = find('summary', HTMLElement, this.element);
    this.#bare = find('.bare', HTMLElement, this.element);
    this.#body = find('.body', HTMLElement, this.element);
    this.#peek = find('.peek', HTMLElement, this.element);
    this.#peekText = new GrowingText(this.#peek);
    this.#details.addEventListener('toggle', () => this.#redraw());
  }

  /**
   * Draw the step, touching only what differs from how it was drawn last.
   *
   * @param {Step} step
   * @param {boolean} running whether its reply runs
   */
  draw(step, running) {
    const before = this.#last;
    const same = before?.step.part === step.part && before.step.results.length === step.results.length;
    if (same && before.running === running) return;
    this.#last = { step, running };
    this.#redraw();
  }

  #redraw() {
    if (!this.#last) return;
    const { step, running } = this.#last;
    const grows = running && step.part.open;
    const title = titleOf(step, running, this.#translate);
    const empty = isEmpty(step);
    this.element.className = `step ${step.part.kind}`;
    this.element.dataset['state'] = stateOf(step, running);
    setText(this.#summary, empty ? '' : title);
    setText(this.#bare, empty ? title : '');
    this.#bare.hidden = !empty || title === '';
    this.#details.hidden = empty;
    this.element.hidden = title === '';
    if (this.#details.open) this.#drawSections(sectionsOf(step, this.#translate));
    this.#drawPeek(step.part.kind === 'reasoning' && grows && !this.#details.open ? step.part.text : '');
    clearTimeout(this.#tick);
    if (stateOf(step, running) === 'running' && step.part.begunAt !== null) {
      this.#tick = setTimeout(() => this.element.isConnected && this.#redraw(), TICK_MS);
    }
  }

  /** @param {string} text what the model thinks, while the reader sees only its last lines; else empty */
  #drawPeek(text) {
    this.#peek.hidden = text === '';
    if (text.length > this.#peekText.length) this.#peekText.append(text.slice(this.#peekText.length));
    else if (text === '' && this.#peekText.length) this.#peekText.clear();
  }

  /** @param {Section[]} sections */
  #drawSections(sections) {
    for (const [i, { label, text, grows }] of sections.entries()) {
      const shown = this.#shown[i] ?? this.#addSection(label);
      if (shown.text === text) continue;
      if (!grows || text.length < shown.text.length) shown.growing.clear();
      shown.growing.append(text.slice(shown.growing.length));
      shown.text = text;
    }
  }

  /** @param {string} label */
  #addSection(label) {
    const element = document.createElement('div');
    element.className = 'grown';
    element.dir = 'auto';
    if (label) {
      const heading = document.createElement('p');
      heading.className = 'label';
      heading.textContent = label;
      this.#body.append(heading);
      stopWhereItScrolls(element, label);
    }
    this.#body.append(element);
    const shown = { element, growing: new GrowingText(element), text: '' };
    this.#shown.push(shown);
    return shown;
  }
}

/**
 * Return what a step's line says.
 *
 * @param {Step} step
 * @param {boolean} running whether its reply runs
 * @param {Translate} translate
 * @returns {string} empty if there is nothing to be said
 */
function titleOf(step, running, translate) {
  const { part } = step;
  const { kind, text, open, begunAt, endedAt, members } = part;
  if (kind === 'reasoning') {
    const thinking = running && open;
    const seconds = secondsBetween(begunAt, thinking ? Date.now() : endedAt);
    if (seconds < 1) return thinking ? translate('thinking') : text && translate('thought');
    return translate(thinking ? 'thinking.for' : 'thought.for', { time: durationText(seconds, translate) });
  }
  const name = visibleName(members['name']) || '?';
  if (kind === 'data') {
    const { value } = members;
    return isShort(value) ? `${name}: ${value}` : name;
  }
  if (kind === 'tool_result') return translate(members['error'] === true ? 'result.failed' : 'result.alone');
  const sentences = /** @type {const} */ ({
    running: 'call.running', failed: 'call.failed', done: 'call.done', open: 'call.open',
  });
  const state = stateOf(step, running);
  const seconds = state === 'running' ? secondsBetween(begunAt, Date.now()) : 0;
  if (seconds >= 1) return translate('call.running.for', { name, time: durationText(seconds, translate) });
  return translate(sentences[state], { name });
}

/** Return the seconds between two times (unix ms); 0 if one is not known. @param {number | null} from @param {number | null} to */
function secondsBetween(from, to) {
  return from === null || to === null ? 0 : Math.round((to - from) / 1000);
}

/**
 * Return the contents of a step.
 *
 * @param {Step} step
 * @param {Translate} translate
 * @returns {Section[]}
 */
function sectionsOf({ part, results }, translate) {
  const { kind, text, open, members } = part;
  if (kind === 'reasoning') return [{ label: '', text, grows: true }];
  if (kind === 'data') return [{ label: translate('data.value'), text: valueText(members['value']), grows: false }];
  /** @type {Section[]} */
  const sections = [];
  // It is JSON only once it is closed.
  if (text) sections.push({ label: translate('call.arguments'), text: open ? text : prettyJSON(text), grows: open });
  for (const { members: { result } } of kind === 'tool_result' ? [part] : results) {
    sections.push({ label: translate('call.result'), text: valueText(result), grows: false });
  }
  return sections;
}

/** Return whether a step has nothing to unfold. @param {Step} step */
function isEmpty({ part, results }) {
  if (part.kind === 'data') return isShort(part.members['value']);
  return part.kind !== 'tool_result' && part.text === '' && results.length === 0;
}

/** @param {unknown} value @returns {value is string | number | boolean} whether it stands in the step's line */
function isShort(value) {
  if (typeof value === 'string') return value.length <= SHORT_LENGTH && !value.includes('\n');
  return typeof value === 'number' || typeof value === 'boolean';
}
