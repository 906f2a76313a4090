/**
 * How a reply ended: what is said of it, and what a person can do about it. Pure.
 *
 * @import { Reply } from './conversation.js'
 *
 * @typedef {'continue' | 'change' | 'retry' | 'ask' | 'resume' | 'sign-in'} EndAction
 *   What helps after an end. `continue`: have the model go on, by a question that is shown; `change`: put the question
 *   into the composer again, to be changed; `retry`: ask the same anew, in place of this reply; `ask`: the same, but
 *   what had arrived of this reply stays; `resume`: read on in it; `sign-in`: go to the form for signing in.
 *
 * @typedef {object} Ending
 *   The end of a reply, as its card shows it.
 * @property {string} key of the sentence
 * @property {EndAction | null} action the one that helps; null if nothing does that a person can do here
 * @property {string} words what the sentence quotes: the words of a model's server, or of the service; else empty
 * @property {string} detail what else the service said, for whoever unfolds it; in English, else empty
 * @property {string} code of the problem and its reason, such as `backend-failed · busy`; empty if there was no problem
 */
import { codeOf } from './problems.js';
import { problemKey } from './translate.js';

/** The finish reasons of a reply that was cut although the service calls it done (PROTOCOL.md section 1). */
const CUTS = new Set(['length', 'content_filter']);
/** The finish reason of a reply whose service went down while it was written (PROTOCOL.md section 7). */
const INTERRUPTED = 'interrupted';

/**
 * What helps after each problem, by the key of its sentence. With any other the request itself was refused, so that
 * the question has to change.
 *
 * @type {Readonly<Record<string, EndAction | null>>}
 */
const ACTIONS = {
  'problem.too-many-requests': 'retry',
  'problem.overloaded': 'retry',
  'problem.draining': 'ask',
  'problem.store-unavailable': 'retry',
  'problem.reply-not-found': 'ask',
  'problem.reply-gone': 'ask',
  'problem.reply-expired': 'ask',
  'problem.cursor-past-end': 'ask',
  'problem.unauthorized': 'sign-in',
  'problem.forbidden': null,
  'problem.forbidden-origin': null,
  'problem.misdirected-request': null,
  'problem.internal-error': 'retry',
  'problem.backend-failed': 'retry',
  'problem.backend-failed.busy': 'retry',
  'problem.backend-failed.misconfigured': null,
};
/** The keys of the sentences that quote the detail of their problem: it says what is wrong with what was sent. */
const QUOTING_KEYS = new Set(['problem.backend-failed.refused', 'problem.other']);
/** The actions that need the question that the reply answers. A reply that was opened by a link has none here. */
const NEEDING_QUESTION = new Set(['continue', 'change', 'retry', 'ask']);

/**
 * Return what is to be said of a reply that the service calls done.
 *
 * @param {Pick<Reply, 'finishReason' | 'text' | 'parts'>} reply
 * @returns {'length' | 'content_filter' | 'empty' | 'done'} `length` or `content_filter`: it was cut by that; `empty`:
 *   it has neither text nor files; `done`: it is complete
 */
export function completeness({ finishReason, text, parts }) {
  if (finishReason && CUTS.has(finishReason)) return /** @type {'length' | 'content_filter'} */ (finishReason);
  return text === '' && !parts.some(({ kind }) => kind === 'file') ? 'empty' : 'done';
}

/**
 * Return whether anything of a reply is here: text, or what stands beside it.
 *
 * @param {Pick<Reply, 'text' | 'parts'>} reply
 * @returns {boolean}
 */
export function hasArrived({ text, parts }) {
  return text !== '' || parts.length > 0;
}

/**
 * Return how a reply ended, or was given up.
 *
 * @param {Reply} reply
 * @returns {Ending | null} null if it runs, or is complete, so that nothing is to be said
 */
export function endingOf(reply) {
  const { state, problem } = reply;
  const key = endingKey(reply);
  if (key === '') return null;
  const quotes = QUOTING_KEYS.has(key);
  const detail = (state === 'failed' || state === 'lost') && problem?.detail ? problem.detail : '';
  const code = state === 'failed' || state === 'lost' ? codeOf(problem) : '';
  const action = actionAfter(reply, key);
  return {
    key,
    action: reply.key === '' && action !== null && NEEDING_QUESTION.has(action) ? null : action,
    words: quotes ? detail : '',
    detail: quotes ? '' : detail,
    code: [code, code && problem?.reason].filter(Boolean).join(' · '),
  };
}

/** Return the key of the sentence about an end; empty if there is none. @param {Reply} reply */
function endingKey(reply) {
  const { state, problem, finishReason, text, parts } = reply;
  if (state === 'done') {
    const found = completeness(reply);
    if (found === 'done') return '';
    if (found === 'empty') return parts.length ? 'ended.empty' : 'ended.nothing';
    return text ? `ended.${found}` : `ended.${found}.empty`;
  }
  if (state === 'stopped') {
    if (finishReason === 'abandoned') return 'ended.abandoned';
    return hasArrived(reply) ? 'ended.stopped' : 'ended.stopped.empty';
  }
  if (state === 'lost' && !problem) return 'problem.lost';
  if (state !== 'failed' && state !== 'lost') return '';
  const code = codeOf(problem);
  // Only a reply that has begun fails by this; one that could not begin is given up (`lost`).
  if (state === 'failed' && (finishReason === INTERRUPTED || code === 'draining')) {
    return hasArrived(reply) ? 'ended.interrupted' : 'ended.interrupted.empty';
  }
  // A reply of the reader's own was known here, so a wrong link is not the reason.
  if (code === 'reply-not-found' && reply.key !== '') return 'problem.reply-gone';
  return problemKey(code, problem?.reason);
}

/** Return what helps after an end. @param {Reply} reply @param {string} key @returns {EndAction | null} */
function actionAfter({ state, problem }, key) {
  if (key.startsWith('ended.interrupted')) return 'ask';
  if (key === 'ended.length') return 'continue';
  if (key.startsWith('ended.content_filter')) return 'change';
  if (key.startsWith('ended.')) return 'retry';
  // What was given up is still there, or the request still waits to be sent.
  if (state === 'lost') return codeOf(problem) === 'unauthorized' ? 'sign-in' : 'resume';
  const action = ACTIONS[key];
  return action === undefined ? 'change' : action;
}
