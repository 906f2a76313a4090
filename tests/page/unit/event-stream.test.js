import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventStreamParser } from '../../../static/event-stream.js';

/** @param {string[]} pieces */
function parse(...pieces) {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.push(piece));
}
const event = (data, id = '', name = 'message') => ({ type: 'event', event: name, data, id });

test('a reply of two characters, its comment and its end', () => {
  assert.deepEqual(parse(': t=1790000000000\n\nid: r:1\ndata: 你\n\nid: r:2\ndata: 好\n\nid: r:end\ndata: [DONE]\n\n'), [
    { type: 'comment', comment: 't=1790000000000' },
    event('你', 'r:1'), event('好', 'r:2'), event('[DONE]', 'r:end'),
  ]);
});

test('a newline is two empty data lines, a space is data and two spaces', () => {
  assert.deepEqual(parse('data:\ndata:\n\ndata:  \n\n'), [event('\n'), event(' ')]);
});

test('every cut of a stream gives the same events, CRLF cut in two included', () => {
  for (const end of ['\n', '\r\n', '\r']) {
    const stream = ['id: r:1', 'data: a', '', 'event: failed', 'data: {"x":1}', '', ': t=5', 'retry: 40', 'data:x', '', 'data: y', '', ''].join(end);
    const whole = parse(`${stream}:\n`);
    assert.equal(whole.length, 7);
    for (let cut = 0; cut <= stream.length; cut++) {
      assert.deepEqual(parse(stream.slice(0, cut), `${stream.slice(cut)}:\n`), whole, `${JSON.stringify(end)} cut at ${cut}`);
    }
    assert.deepEqual(parse(...`${stream}:\n`), whole);
  }
});

test('an event whose blank line never came is not returned', () => {
  assert.deepEqual(parse('data: a\n'), []);
});

test('a byte order mark at the start is no part of a field', () => {
  assert.deepEqual(parse('\uFEFFdata: a\n\n'), [event('a')]);
});

test('an id with NUL is ignored, an unknown field and a bad retry too', () => {
  assert.deepEqual(parse('id: 1\ndata: a\n\nid: \0\nfoo: b\nretry: 1s\ndata: c\n\n'), [event('a', '1'), event('c', '1')]);
});
