import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CurrentStatus } from '../../../static/current-status.js';

test('the first text is measured, not what comes before it, and a new reply begins anew', () => {
  const status = new CurrentStatus({ chosen: 'auto', transport: 'sse', online: false }, 0);
  status.begin(1000);
  status.add('', 1100);
  assert.deepEqual([status.value.firstMs, status.value.online], [null, true]);
  assert.equal(status.value.heardAt, 1100);
  status.add('你好', 1500);
  assert.equal(status.value.heardAt, 1500);
  status.set({ waiting: { until: 9, problem: null } });
  status.finish(3000);
  assert.deepEqual(status.value, { chosen: 'auto', transport: 'sse', online: true, firstMs: 500, rate: 1, waiting: null, heardAt: null });
  status.begin(4000);
  assert.deepEqual([status.value.firstMs, status.value.rate, status.value.heardAt], [null, null, 4000]);
});
