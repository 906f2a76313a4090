/**
 * Follow a short reply of `tests/page/answering.py` over one transport for each line on stdin, and print whether its
 * text and its parts were exact, and the number of readings.
 */
import { createInterface } from 'node:readline';
import { follow } from '../../../static/follow.js';
import { growParts } from '../../../static/parts.js';
import { transports } from '../../../static/transports/index.js';
import { START } from '../../../static/units.js';

const [, , base, transport] = process.argv;
const TEXT = '你👩‍👧 \n🇨🇳';
const PARTS = [
  ['reasoning', {}, '想👍.', false], ['tool_call', { id: 'c', name: 'f' }, '{"a":1}', false],
  ['tool_result', { id: 'c', result: [1] }, '', false], ['source', { url: 'https://one.example/' }, '', false],
];

const environment = {
  transports,
  now: () => performance.now(),
  after(run, ms) {
    // Back-off is tested elsewhere.
    const timer = setTimeout(run, ms > 1000 ? ms : 1);
    return () => clearTimeout(timer);
  },
  random: () => 0,
  online: () => true,
  onWake: () => () => {},
};

for await (const _ of createInterface({ input: process.stdin })) {
  let text = '';
  /** @type {readonly import('../../../static/parts.js').Part[]} */
  let parts = [];
  let readings = 0;
  let end = 'nothing';
  const start = { key: crypto.randomUUID(), body: JSON.stringify({ message: TEXT }) };
  const target = { base: new URL(base), reply: null, place: START, start };
  await follow({ target, transport, auto: false }, environment, (progress) => {
    if (progress.type === 'using') readings++;
    if (progress.type === 'grew') {
      text += progress.text;
      parts = growParts(parts, [{ arrival: progress.arrival, at: null }]);
    }
    if (progress.type === 'end') end = progress.state;
  }, new AbortController().signal);
  const found = parts.map(({ kind, members, text: own, open }) => [kind, members, own, open]);
  const exact = text === TEXT && end === 'done' && JSON.stringify(found) === JSON.stringify(PARTS);
  console.log(exact ? 'exact' : `wrong: ${end} ${JSON.stringify([text, found])}`, readings);
}
