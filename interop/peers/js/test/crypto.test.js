import assert from 'node:assert/strict';
import test from 'node:test';
import * as crypto from '../src/crypto.js';
import { keySchedule, open } from './device.js';
import { consume, hex, registry } from './vectors.js';

const eq = (bytes, text) => assert.equal(bytes.toString('hex'), text);

function base32(bytes) {
  const bits = [...bytes].map((b) => b.toString(2).padStart(8, '0')).join('').padEnd(260, '0');
  return bits.match(/.{5}/g).map((five) => 'abcdefghijklmnopqrstuvwxyz234567'[parseInt(five, 2)]).join('');
}

consume('crypto/identity.json', (given, expected) => {
  const seed = hex(given.seed);
  const made = crypto.identity(seed.subarray(0, 32), seed.subarray(32));
  eq(made.public, expected.public);
  eq(made.fingerprint, expected.fingerprint);
  assert.equal(made.fingerprint.toString('base64url'), expected.text);
});

consume('crypto/signature.json', (given, expected) => {
  crypto.verify(hex(given.public), hex(given.message), hex(given.context), hex(given.signature));
  eq(crypto.fingerprint(hex(given.public)), expected.fingerprint);
});

consume('crypto/mailbox.json', (given, expected) => {
  const made = crypto.mailbox(hex(given.seed));
  eq(made.public, expected.public);
  eq(made.id, expected.mailbox);
  assert.equal(base32(made.id), expected.text);
});

consume('crypto/encapsulation.json', (given, expected) => {
  assert.equal(crypto.encapsulate(hex(given.public)).ciphertext.length, expected?.size);
});

consume('crypto/decapsulation.json', (given, expected) => {
  eq(crypto.mailbox(hex(given.seed)).open(hex(given.ciphertext)), expected?.shared);
});

consume('crypto/hpke.json', (given, expected) => {
  eq(open(hex(given.seed), hex(given.sealed), hex(given.info), hex(given.aad)), expected?.plaintext);
});

consume('crypto/key-schedule.json', (given, expected) => {
  const { key, nonce } = keySchedule(hex(given.shared), hex(given.info));
  eq(key, expected.key);
  eq(nonce, expected.nonce);
});

consume('crypto/derivation.json', (given, expected) => {
  const parts = given.parts?.map(hex);
  if (given.function === 'hkdf') eq(crypto.hkdf(hex(given.secret), hex(given.salt), hex(given.info), given.size), expected.output);
  else if (given.function === 'mac') eq(crypto.hmac(hex(given.key), crypto.framed(...parts)), expected.output);
  else eq(crypto.sha256(hex(registry('labels').find((e) => e.name === given.label).hex), ...parts), expected.output);
});

consume('crypto/certificate.json', (given, expected) => {
  const found = crypto.certificateKey(hex(given.certificate));
  eq(found.spki, expected?.spki);
  eq(found.sha256, expected.sha256);
  assert.equal(found.mlDsa, expected['ml-dsa-65']);
});

test('signatures are hedged, and both halves count', () => {
  const made = crypto.identity(Buffer.alloc(32, 1), Buffer.alloc(32, 2));
  const [message, context] = [Buffer.from('m'), Buffer.from('c')];
  const [one, two] = [made.sign(message, context), made.sign(message, context)];
  assert.notDeepEqual(one, two);
  crypto.verify(made.public, message, context, one);
  for (const at of [0, 3372]) {
    const bad = Buffer.from(one);
    bad[at] ^= 1;
    assert.throws(() => crypto.verify(made.public, message, context, bad), { code: 'BAD_SIGNATURE' });
  }
});

test('what is encapsulated opens to the same secret', () => {
  const device = crypto.mailbox(Buffer.alloc(32, 3));
  const { ciphertext, shared } = crypto.encapsulate(device.public);
  assert.deepEqual(device.open(ciphertext), shared);
});
