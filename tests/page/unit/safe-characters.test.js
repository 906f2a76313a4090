import assert from 'node:assert/strict';
import { test } from 'node:test';
import { safeLength } from '../../../static/safe-characters.js';

const safe = (text, inCode = false) => text.slice(0, safeLength(text, 0, inCode));

test('what means only itself is drawn, and nothing behind what may mean more', () => {
  for (const [text, drawn] of [
    ['word, one (two) 你好，世界。 3.5!! x', 'word, one (two) 你好，世界。 3.5!! x'], ['a *b*', 'a '], ['a `b`', 'a '], ['a | b', 'a '], ['a\nb', 'a'],
    ['see www.x', 'see www'], ['http://x', 'http:'], ['a ![x]', 'a '], ['two  spaces', 'two'], ['at the end ', 'at the end'], ['what!', 'what'],
    ['a_b', 'a'], ['&amp;', ''], ['$x$', ''], ['<b>', ''], ['a\\*', 'a'], ['👩‍👩‍👧‍👦🇨🇳é', '👩‍👩‍👧‍👦🇨🇳é'],
  ]) assert.equal(safe(text), drawn, text);
});

test('in code all is drawn up to what may end its line or itself', () => {
  for (const [text, drawn] of [['x = a * b | "c" # d', 'x = a * b | "c" # d'], ['x\ny', 'x'], ['a`', 'a'], ['a~', 'a'], ['\tx', '']]) {
    assert.equal(safe(text, true), drawn, text);
  }
});

test('a text is read on from anywhere', () => {
  const text = 'one two, three *four*';
  for (let at = 0, to = text.indexOf('*'); at <= to; at++) {
    // A space is drawn with what is behind it.
    assert.equal(at + safeLength(text, at, false), to, String(at));
  }
});
