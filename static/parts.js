/**
 * The side parts of a reply as the page keeps and shows them (PROTOCOL.md section 1, "Parts"). Pure.
 *
 * Of what a service sends the page keeps what it shows: no signatures and metadata, and no kinds that it doesn't know.
 * The parts are kept with the conversation, so the names and values of their members must not change.
 *
 * @import { Arrival } from './units.js'
 *
 * @typedef {object} Part
 *   A side part, as far as it is here.
 * @property {number} part its number
 * @property {'reasoning' | 'tool_call' | 'tool_result' | 'source' | 'file' | 'data'} kind
 * @property {Record<string, unknown>} members those of its first mark that are shown, of any type
 * @property {string} text what the model thinks, or the arguments of a call as it writes them; else empty
 * @property {boolean} open whether more of its text may come
 * @property {number | null} begunAt when it began (unix ms), if it was seen to
 * @property {number | null} endedAt when it ended (unix ms), if it was seen to
 *
 * @typedef {{arrival: Arrival, at: number | null}} Timed
 *   What came, and when (unix ms); null if it may have been out for a while.
 *
 * @typedef {object} Step
 *   One thing that the model did: a thought, a call with its results, results of a call that isn't here, or a value of
 *   the application's own.
 * @property {Part} part
 * @property {Part[]} results of a call, in order
 *
 * @typedef {object} Arrangement
 *   The parts as they are shown.
 * @property {Step[]} steps in the order in which they began
 * @property {Part[]} sources in order, each address once
 * @property {Part[]} files in order
 */
import { ANSWER } from './units.js';

/** The members of each kind that are kept. @type {Readonly<Record<Part['kind'], readonly string[]>>} */
const KEPT_MEMBERS = {
  reasoning: [],
  tool_call: ['id', 'name'],
  tool_result: ['id', 'result', 'error'],
  source: ['url', 'title'],
  file: ['url', 'media_type', 'name'],
  data: ['id', 'name', 'value'],
};
/** The kinds that have text; all others are whole in their first mark. */
const KINDS_WITH_TEXT = new Set(['reasoning', 'tool_call']);

/**
 * Return the parts after some arrivals. The same list is returned if nothing of it changes.
 *
 * @param {readonly Part[]} parts by number
 * @param {readonly Timed[]} timed arrivals that the reader did not have
 * @returns {readonly Part[]}
 */
export function growParts(parts, timed) {
  /** The parts that are changed; a copy is made for the first change alone. @type {Part[] | null} */
  let grown = null;
  const edit = () => (grown ??= [...parts]);
  for (const { arrival, at } of timed) {
    if (arrival.type !== 'unit') continue;
    const { unit } = arrival;
    if (unit.type === 'unknown' || unit.part === ANSWER) continue;
    if (unit.type === 'part') {
      const part = newPart(unit, at);
      if (part && !has(grown ?? parts, part.part)) put(edit(), part);
      continue;
    }
    const index = (grown ?? parts).findLastIndex(({ part }) => part === unit.part);
    const before = (grown ?? parts)[index];
    if (!before?.open) continue;
    edit()[index] = unit.type === 'delta'
      ? { ...before, text: before.text + unit.text }
      : { ...before, open: false, endedAt: at };
  }
  return grown ?? parts;
}

/**
 * Return the parts with all of them closed, as a reply's end closes them.
 *
 * @param {readonly Part[]} parts
 * @param {number | null} at when (unix ms), if that is known
 * @returns {readonly Part[]} the same list if none is open
 */
export function closeParts(parts, at) {
  if (!parts.some(({ open }) => open)) return parts;
  return parts.map((part) => (part.open ? { ...part, open: false, endedAt: at } : part));
}

/**
 * Return the parts without what takes most room, for a storage that is full: the contents of files.
 *
 * @param {readonly Part[]} parts
 * @returns {readonly Part[]}
 */
export function withoutContents(parts) {
  return parts.map((part) => {
    const { url } = part.members;
    const heavy = typeof url === 'string' && url.startsWith('data:');
    return heavy ? { ...part, members: { ...part.members, url: '' } } : part;
  });
}

/**
 * Arrange parts for showing them.
 *
 * @param {readonly Part[]} parts
 * @returns {Arrangement}
 */
export function arrange(parts) {
  /** @type {Arrangement} */
  const { steps, sources, files } = { steps: [], sources: [], files: [] };
  /** @type {Map<unknown, Step>} */
  const calls = new Map();
  const addresses = new Set();
  for (const part of parts) {
    const { id, url } = part.members;
    const call = part.kind === 'tool_result' ? calls.get(id) : undefined;
    if (call) call.results.push(part);
    else if (part.kind === 'file') files.push(part);
    else if (part.kind === 'source') {
      if (!addresses.has(url)) sources.push(part);
      addresses.add(url);
    } else {
      const step = { part, results: [] };
      steps.push(step);
      if (part.kind === 'tool_call') calls.set(id, step);
    }
  }
  return { steps, sources, files };
}

/**
 * Return the state of a step. `open` is a call that has no result although its reply has ended.
 *
 * @param {Step} step
 * @param {boolean} running whether its reply runs
 * @returns {'running' | 'done' | 'failed' | 'open'}
 */
export function stateOf({ part, results }, running) {
  const all = part.kind === 'tool_result' ? [part] : results;
  if (all.some(({ members }) => members['error'] === true)) return 'failed';
  if (part.kind === 'reasoning') return running && part.open ? 'running' : 'done';
  if (part.kind !== 'tool_call' || results.length > 0) return 'done';
  return running ? 'running' : 'open';
}

/**
 * Return whether the model thinks or a tool runs, of a reply that runs.
 *
 * @param {readonly Part[]} parts
 * @returns {boolean}
 */
export function isAtWork(parts) {
  return arrange(parts).steps.some((step) => stateOf(step, true) === 'running');
}

/**
 * @param {{part: number, kind: string, members: Record<string, unknown>}} mark
 * @param {number | null} at
 * @returns {Part | null} null for what the page does not show
 */
function newPart({ part, kind, members }, at) {
  if (!isKept(kind)) return null;
  // A thought that is whole in its first mark has a signature and no text.
  if (kind === 'reasoning' && 'signature' in members) return null;
  const kept = Object.fromEntries(KEPT_MEMBERS[kind].filter((name) => name in members).map((name) => [name, members[name]]));
  return { part, kind, members: kept, text: '', open: KINDS_WITH_TEXT.has(kind), begunAt: at, endedAt: null };
}

/** @param {string} kind @returns {kind is Part['kind']} */
function isKept(kind) {
  return Object.hasOwn(KEPT_MEMBERS, kind);
}

/** Return whether there is a part of a number. @param {readonly Part[]} parts @param {number} number */
function has(parts, number) {
  // Parts come by number, so that mostly it is enough to look at the last one.
  return number <= (parts.at(-1)?.part ?? 0) && parts.some(({ part }) => part === number);
}

/**
 * Put a part behind the others, or in the place of the value that it replaces.
 *
 * @param {Part[]} parts
 * @param {Part} part
 */
function put(parts, part) {
  const { id, name } = part.members;
  // Only values with an id are replaced, and such a value keeps its number, by which its place on the page is known.
  const replaced = part.kind !== 'data' || id === undefined ? -1 : parts.findIndex(({ kind, members }) =>
    kind === 'data' && members['id'] === id && members['name'] === name);
  const before = parts[replaced];
  if (before) parts[replaced] = { ...part, part: before.part };
  else parts.push(part);
}
