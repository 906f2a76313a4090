/**
 * Follow a short reply over one transport for each line on stdin, and print whether its text was exact, and the
 * number of readings.
 */
import { createInterface } from 'node:readline';
import { follow } from '../../../static/follow.js';
import { transports } from '../../../static/transports/index.js';
import { START } from '../../../static/units.js';

const [, , base, transport] = process.argv;
const TEXT = '你👩‍👧 \n🇨🇳';

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
  let readings = 0;
  let end = 'nothing';
  const start = { key: crypto.randomUUID(), body: JSON.stringify({ message: TEXT }) };
  const target = { base: new URL(base), reply: null, place: START, start };
  await follow({ target, transport, auto: false }, environment, (progress) => {
    if (progress.type === 'using') readings++;
    if (progress.type === 'grew') text += progress.text;
    if (progress.type === 'end') end = progress.state;
  }, new AbortController().signal);
  console.log(text === TEXT && end === 'done' ? 'exact' : `wrong: ${end} ${JSON.stringify(text)}`, readings);
}
