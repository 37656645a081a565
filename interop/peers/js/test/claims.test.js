import assert from 'node:assert/strict';
import { Claims } from '../src/claims.js';
import { ProtocolError } from '../src/codes.js';
import { consume } from './vectors.js';

/** In how many seconds the caller may come again; 0: it was let in. */
function busy(ask) {
  try {
    ask();
    return 0;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    assert.equal(error.code, 'BUSY');
    assert.ok(error.retryAfter > 0);
    return error.retryAfter;
  }
}

consume('handshake/claims.json', (given) => {
  const claims = new Claims();
  const made = new Map();
  let others = 0;
  const asOthers = (count, then) => {
    for (let i = 0; i < count; i += 1) {
      others += 1;
      then([`other-${others}.example`, `10.0.${others >> 8}.${others & 255}`, `key ${others}`]);
    }
  };
  for (const step of given.steps) {
    const { t } = step;
    const what = JSON.stringify(step);
    if ('claim' in step) {
      const { domain, address, key } = step;
      assert.equal(busy(() => made.set(step.claim, claims.claim(domain, address, key, t))) > 0, step.busy > 0, what);
    } else if ('over' in step) claims.over(made.get(step.over));
    else if ('proved' in step) assert.equal(busy(() => claims.proof(made.get(step.proved), t)) > 0, step.busy > 0, what);
    else {
      asOthers(step.strangers ?? step.proving, (who) => {
        const claim = claims.claim(...who, t);
        if (step.proving) claims.proof(claim, t);
        else claims.over(claim);
      });
    }
  }
});
