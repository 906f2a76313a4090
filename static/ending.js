/**
 * How a reply ended, in words. Pure.
 *
 * @import { Reply } from './conversation.js'
 * @import { Translate } from './translate.js'
 */
import { codeOf } from './problems.js';
import { problemKey } from './translate.js';

/** The finish reasons of a reply that was cut although the service calls it done (PROTOCOL.md section 1). */
const CUTS = new Set(['length', 'content_filter']);
/** The keys of the sentences that a problem's detail follows. */
const DETAILED_KEYS = new Set(['problem.backend-failed', 'problem.backend-failed.refused', 'problem.other']);

/**
 * Return what is to be said of a reply that the service calls done.
 *
 * @param {Pick<Reply, 'finishReason' | 'text'>} reply
 * @returns {'length' | 'content_filter' | 'empty' | 'done'} `length` or `content_filter`: it was cut by that; `empty`:
 *   it has no text; `done`: it is complete
 */
export function completeness({ finishReason, text }) {
  if (finishReason && CUTS.has(finishReason)) return /** @type {'length' | 'content_filter'} */ (finishReason);
  return text === '' ? 'empty' : 'done';
}

/**
 * Return the sentence that stands below a reply.
 *
 * @param {Reply} reply
 * @param {Translate} translate
 * @returns {string} empty if nothing is to be said
 */
export function endingText(reply, translate) {
  const { state, problem } = reply;
  if (state === 'done') {
    const found = completeness(reply);
    return found === 'done' ? '' : translate(`ended.${found}`);
  }
  if (state === 'stopped') return translate('said.stopped');
  if (state === 'lost' && !problem) return translate('problem.lost');
  if (state !== 'failed' && state !== 'lost') return '';
  const key = problemKey(codeOf(problem), problem?.reason);
  const sentence = translate(key);
  // Only these details say more than the translated sentence: why the backend refused or broke off. All others say
  // the same, in English.
  return DETAILED_KEYS.has(key) && problem?.detail ? `${sentence} ${problem.detail}` : sentence;
}
