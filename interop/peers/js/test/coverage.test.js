import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { everyFile } from './vectors.js';

const NOT_OURS = {
  'client/by-hand.json': 'presence keys are taken by devices',
  'client/card.json': 'contact cards are read by devices',
  'client/content.json': 'sealed contents are opened by devices',
  'edge/claim-answer.json': "the device's side of a claim",
  'edge/edge-node.json': 'an edge between devices and homeserver',
  'discovery/addresses.json': 'this homeserver uses a static map',
  'discovery/chain.json': 'this homeserver uses a static map',
  'discovery/dane.json': 'this homeserver uses a static map',
  'discovery/decisions.json': 'this homeserver uses a static map',
  'discovery/identity.json': 'this homeserver uses a static map',
  'discovery/srv.json': 'this homeserver uses a static map',
  'discovery/tlsa.json': 'this homeserver uses a static map',
};

test('each vector file is consumed, or is known not to concern a homeserver', () => {
  const here = new URL('.', import.meta.url);
  const tests = readdirSync(here).filter((name) => name.endsWith('.test.js') && name !== 'coverage.test.js');
  const text = tests.map((name) => readFileSync(new URL(name, here), 'utf8')).join('\n');
  for (const file of everyFile()) {
    const consumed = text.includes(`consume('${file}'`) || text.includes(`read('${file}')`);
    assert.notEqual(consumed, file in NOT_OURS, file);
  }
});
