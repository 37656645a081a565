import assert from 'node:assert/strict';
import test from 'node:test';
import { fingerprint } from '../src/crypto.js';
import { LEVELS, Policy, judge, opens } from '../src/trust.js';
import { hex, read } from './vectors.js';
import { readPolicy } from './toml.js';

const NAMES = { anybody: 'any mailbox' };

/** What the registry says of each gate at a level, computed from the gates alone. */
function gates(level) {
  const who = (gate) => {
    const [named, anybody] = [opens(gate, level, 'a.example', ['a.example']), opens(gate, level, 'a.example', ['*'])];
    return { named, anybody, nobody: opens(gate, level, 'a.example', []) };
  };
  const shown = who('show');
  const taken = who('deliver');
  return {
    dial: opens('dial', level), accept: opens('accept', level), hear: opens('hear', level),
    'relay out': opens('relay out', level), 'relay in': opens('relay in', level),
    establish: opens('establish', level) && 'proven identity',
    show: shown.anybody ? 'users who named this peer or *' : shown.named && 'users who named this peer',
    deliver: taken.nobody ? NAMES.anybody : taken.named && 'mailboxes that named this peer or *',
  };
}

for (const { id, given, expect } of read('trust/policy.json').cases) {
  test(`trust/policy.json: ${id}`, () => {
    if (expect.reject) {
      assert.throws(() => new Policy(readPolicy(given.policy)), (error) => {
        assert.ok(!(error instanceof TypeError), error.stack);
        assert.deepEqual([...error.keys].sort(), [...expect.reject.keys].sort());
        return true;
      });
      return;
    }
    const policy = new Policy(readPolicy(given.policy));
    const { level, by } = policy.decide(given.domain);
    const { accept } = expect;
    assert.equal(level, accept.level);
    assert.equal(by, accept.decided_by);
    assert.deepEqual(gates(level), accept.gates);
    for (const one of accept.envelopes) {
      const code = !opens(`relay ${one.direction}`, level) ? 'POLICY'
        : one.direction === 'in' && !opens('deliver', level, given.domain, one.scope) ? 'UNDELIVERABLE' : 'NONE';
      assert.equal(code, one.code, JSON.stringify(one));
    }
    for (const { scope, open } of accept.presence) assert.equal(Boolean(opens('show', level, given.domain, scope)), open);
  });
}

test('levels are those of the registry', () => {
  assert.deepEqual(LEVELS, ['full', 'selective', 'metadata', 'none']);
});

const statementOf = (id) => hex(read('handshake/continuity.json').cases.find((c) => c.id === id).given.statement);
const good = read('handshake/continuity.json').cases.find((c) => c.id === 'good').expect.accept;
const [OLD, NEW, NONE] = [hex(good.old), hex(good.new), Buffer.alloc(0)];
const STRANGER = fingerprint(Buffer.alloc(1984));
const NOW = 1800000000;
const at = (o) => judge({ domain: 'a.example', published: [OLD], statement: NONE, now: NOW, ...o });

test('an identity is pinned at first contact, and held to it', () => {
  const first = at({ shown: OLD });
  assert.equal(first.verdict, 'first contact');
  assert.deepEqual(at({ shown: OLD, pin: first.pin }), { verdict: 'match', admitted: true, pin: null });
  assert.equal(at({ shown: STRANGER, pin: first.pin }).verdict, 'not published');
  const quarantined = at({ shown: STRANGER, published: [STRANGER], pin: first.pin });
  assert.equal(quarantined.verdict, 'quarantined');
  assert.equal(quarantined.admitted, false);
  assert.equal(at({ shown: OLD, published: [STRANGER], pin: first.pin }).admitted, false);
});

test('a successor that is announced is let in after the cool-off', () => {
  const { pin } = at({ shown: OLD });
  const announced = at({ shown: OLD, published: [OLD, NEW], statement: statementOf('good'), pin });
  assert.equal(announced.verdict, 'announced');
  assert.equal(at({ shown: NEW, published: [OLD, NEW], pin: announced.pin }).verdict, 'cooling');
  const later = at({ shown: NEW, published: [NEW], pin: announced.pin, now: NOW + 259200 });
  assert.equal(later.verdict, 'ready');
  assert.deepEqual(later.pin.fingerprint, NEW);
  assert.equal(later.pin.sequence, NOW);
  assert.equal(at({ shown: OLD, published: [OLD], pin: announced.pin }).verdict, 'withdrawn');
  assert.equal(at({ shown: OLD, published: [OLD, NEW], statement: statementOf('flipped'), pin }).verdict, 'match');
  assert.equal(at({ shown: NEW, published: [NEW], statement: statementOf('good'), pin }).verdict, 'cooling');
});

