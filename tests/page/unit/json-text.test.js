import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prettyJSON, valueText } from '../../../static/json-text.js';

const VALUES = [
  null, true, 0, -1.5e3, '', 'a"b\\', '{"no": [json]}', [], {}, [[]], [{}], { a: [] }, { a: { b: [1, 'x: y, z', null] }, 'c"': {} },
  [1, [2, [3, { d: [] }]]], '\n\t\u2028', { 'k,{[': ']}' },
];

test('it is as JSON.stringify would have it, however it was written', () => {
  for (const value of VALUES) {
    const pretty = JSON.stringify(value, null, 2);
    for (const space of [undefined, 1, 7]) assert.equal(prettyJSON(JSON.stringify(value, null, space)), pretty);
  }
});

test('numbers and escapes stay as they are written', () => {
  assert.equal(prettyJSON('{"id":12345678901234567890,"e":1.50,"s":"\\u00e9"}'),
    '{\n  "id": 12345678901234567890,\n  "e": 1.50,\n  "s": "\\u00e9"\n}');
});

test('what is no JSON, or its beginning, is left alone', () => {
  for (const text of ['', '{"a":', 'select * from t', '{a: 1}', '[1,]']) assert.equal(prettyJSON(text), text);
});

test('a text is shown as it is, any other value as JSON', () => {
  assert.equal(valueText('{"a": 1}'), '{"a": 1}');
  assert.equal(valueText({ a: [1] }), '{\n  "a": [\n    1\n  ]\n}');
  assert.equal(valueText(undefined), 'null');
});
