import assert from 'node:assert/strict';
import { claimKeys, judgeAcknowledge, judgeProof } from '../src/edge.js';
import { CODES } from '../src/codes.js';
import { label, sha256 } from '../src/crypto.js';
import { Relay, readEnvelope, readRegistration } from '../src/relay.js';
import { Store } from '../src/store.js';
import { decodeMessage, encodeItem } from '../src/wire.js';
import { consume, hex } from './vectors.js';

const NOW = 1800000000;

consume('relay/envelope.json', (given, expected) => {
  const bytes = Buffer.concat([hex(given.head), Buffer.alloc(given.zeros)]);
  const read = readEnvelope(bytes);
  assert.deepEqual({
    mailbox: read.mailbox.toString('hex'), domain: read.domain, id: read.id.toString('hex'), expiry: String(read.expiry), class: read.urgency,
    capability: read.capability.toString('hex'), body: read.body.length,
  }, expected);
  const item = [1, read.mailbox, read.domain, read.id, read.expiry, read.urgency, read.capability, read.body];
  assert.deepEqual(encodeItem(item), bytes);
});

consume('relay/intake.json', (given, expected) => {
  const store = new Store(':memory:');
  const relay = new Relay({ own: given.own, store, level: (domain) => given.levels[domain] ?? 'none', limits: given.limits });
  const mailbox = hex(given.mailbox.id);
  const grants = given.mailbox.grants.map(([capability, scopes]) => [sha256(label('CAPABILITY'), hex(capability)), scopes]);
  store.register(mailbox, encodeItem([1, grants]), NOW);
  const queued = [];
  const answers = given.batches.map((batch) => {
    const envelopes = batch.map((e) => encodeItem([1, hex(e.mailbox), e.domain, hex(e.id), NOW + e.lives, e.class, hex(e.capability), Buffer.alloc(e.size)]));
    const taken = relay.intake(given.from === 'device' ? null : given.from, envelopes, NOW);
    queued.push(...taken.queued.map((one) => one.id.toString('hex')));
    const codes = new Map(taken.refusals);
    return batch.map((_, i) => Object.keys(CODES).find((name) => CODES[name] === (codes.get(i) ?? 0)));
  });
  const holds = [0, 1, 2].flatMap((urgency) => store.mail(mailbox, urgency, 0, 1000)).map((row) => row.id.toString('hex'));
  assert.deepEqual({ answers, holds, queued }, expected);
  store.close();
});

consume('edge/registration.json', (given, expected) => {
  const grants = readRegistration(hex(given.data)).map(({ hash, scopes }) => ({ hash: hash.toString('hex'), scopes }));
  assert.deepEqual(grants, expected?.grants);
});

consume('edge/claim-proof.json', (given, expected) => {
  const challenge = decodeMessage(hex(given.challenge));
  const judged = judgeProof({ shared: hex(given.shared), challenge, mailbox: hex(given.mailbox), proof: decodeMessage(hex(given.proof)), now: given.now });
  assert.equal(judged.acknowledgeKey.toString('hex'), expected?.acknowledge_key);
  assert.equal(judged.grants.length, expected.grants);
  assert.equal(claimKeys(hex(given.shared), challenge).acknowledge.toString('hex'), expected.acknowledge_key);
});

consume('edge/acknowledge.json', (given, expected) => {
  const { mailbox, ids, mac } = decodeMessage(hex(given.acknowledge));
  const digests = new Map(given.delivered.map(({ id, envelope }) => [id, sha256(hex(envelope))]));
  judgeAcknowledge({ key: hex(given.key), mailbox, ids, mac, digestOf: (id) => digests.get(id.toString('hex')) });
  assert.deepEqual(ids.map((id) => id.toString('hex')), expected?.deleted);
});
