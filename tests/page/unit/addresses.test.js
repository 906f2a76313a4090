import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isContent, isShownImage, visibleName, webAddress } from '../../../static/addresses.js';

test('only absolute addresses of the web are links', () => {
  for (const url of ['https://a.example/x?y#z', 'http://a.example', 'HTTPS://A.example/']) assert.equal(webAddress(url)?.host, 'a.example');
  for (const url of ['javascript:alert(1)', ' https://a/', 'data:text/html,x', '//a.example/', '/x', 'x', 'https:a', 'https://', 'blob:https://a/1', '', null, 3, {}]) {
    assert.equal(webAddress(url), null, String(url));
  }
});

test('only images without scripts are shown', () => {
  for (const type of ['png', 'jpeg', 'gif', 'webp', 'avif', 'PNG']) {
    assert.ok(isShownImage(`data:image/${type};base64,AA==`));
  }
  for (const url of ['data:image/svg+xml,<svg/>', 'data:text/html,x', 'data:image/pngx,', 'https://a/x.png', 'data:,image/png;', null]) {
    assert.equal(isShownImage(url), false, String(url));
  }
  assert.deepEqual(['data:,x', 'DATA:,x', 'https://a/', '', null].map(isContent), [true, true, false, false, false]);
});

test('a name cannot look like another one', () => {
  assert.equal(visibleName('photo\u202egpj.exe'), 'photogpj.exe');
  assert.equal(visibleName(' a\n\u0000b\u2066 '), 'ab');
  assert.equal(visibleName('图表 📊.png'), '图表 📊.png');
  assert.equal(visibleName({}), '');
  assert.equal(visibleName('👍'.repeat(200)), '👍'.repeat(200));
  assert.equal(visibleName('👍'.repeat(1e5)), `${'👍'.repeat(200)}…`);
});
