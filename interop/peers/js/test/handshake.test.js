import assert from 'node:assert/strict';
import test from 'node:test';
import * as crypto from '../src/crypto.js';
import { ProtocolError } from '../src/codes.js';
import { proves, readStatement } from '../src/continuity.js';
import { DIALLER, Handshake, LISTENER, transcript } from '../src/handshake.js';
import { MAX_HANDSHAKE_MESSAGE, decodeItem, decodeMessage, encodeMessage } from '../src/wire.js';
import { consume, hex, read } from './vectors.js';

const RUN = read('handshake/run.json').cases[0];
const MESSAGES = new Map(read('handshake/messages.json').cases.map((c) => [c.id, hex(c.given.message)]));
const STATEMENTS = new Map(read('handshake/continuity.json').cases.map((c) => [c.id, c.given.statement]));

const end = (name) => {
  const { identity_seed: seed, nonce, name: own } = RUN.given[name];
  return { own, nonce: hex(nonce), identity: crypto.identity(hex(seed).subarray(0, 32), hex(seed).subarray(32)) };
};

consume('handshake/messages.json', (given, expected) => {
  const message = hex(given.message);
  decodeMessage(message, MAX_HANDSHAKE_MESSAGE);
  const shown = (v) => {
    if (Buffer.isBuffer(v)) return v.length > 64 ? `SHA-256 ${crypto.sha256(v).toString('hex')}` : `h'${v.toString('hex')}'`;
    if (Array.isArray(v)) return v.map(shown);
    if (v instanceof Map) return Object.fromEntries([...v].map(([k, x]) => [k, shown(x)]));
    return v;
  };
  assert.deepEqual(shown(decodeItem(message)), expected.fields);
});

function channelOf(given) {
  return {
    exporters: { [DIALLER]: hex(given.exporter_dialler), [LISTENER]: hex(given.exporter_listener) },
    spki: { [DIALLER]: hex(given.dialler_spki_sha256), [LISTENER]: hex(given.listener_spki_sha256) },
    alpn: given.alpn,
    group: given.group,
  };
}

function messageOf(reference) {
  if (typeof reference === 'string') return MESSAGES.get(reference);
  const bytes = Buffer.from(MESSAGES.get(reference.message));
  hex(reference.put).copy(bytes, reference.at);
  return bytes;
}

consume('handshake/machine.json', (given, expected) => {
  const role = given.role === 'dialler' ? DIALLER : LISTENER;
  const published = given.expected.map(hex);
  const machine = new Handshake({
    ...end(given.role), role, channel: channelOf(given.channel), now: 0, versions: given.versions, expected: published,
    wanted: role === DIALLER ? 'b.example' : undefined,
    extensions: new Map(Object.entries(given.extensions).map(([k, v]) => [Number(k), hex(v)])),
  });
  let made;
  try {
    for (const step of given.steps) {
      if (step.do === 'reject') throw machine.reject(step.code);
      else if (step.do === 'wait') machine.tick(step.t);
      else if (step.do) made = step.do === 'accept' ? machine.accept(published) : machine[step.do]();
      else if (step.in) machine.receive(messageOf(step.in), step.t);
      else if (step.out.endsWith('-auth')) {
        const [ours, recorded] = [decodeMessage(made), decodeMessage(messageOf(step.out))];
        const signed = transcript(machine.channel, role, machine.hellos[DIALLER], machine.hellos[LISTENER]);
        const sameChannel = Object.values(machine.channel.exporters).every((e, i) => e.toString('hex') === RUN.given.exporters[i + 1]);
        for (const { signature } of sameChannel ? [ours, recorded] : [ours]) crypto.verify(machine.identity.public, signed, crypto.label('AUTH_CONTEXT'), signature);
      } else assert.equal(made.toString('hex'), messageOf(step.out).toString('hex'));
    }
  } catch (error) {
    assert.equal(machine.state, 'CLOSED');
    const { t } = given.steps.at(-1);
    for (const message of MESSAGES.values()) assert.throws(() => machine.receive(message, t), ProtocolError);
    for (const decision of ['start', 'prove', 'accept']) assert.throws(() => machine[decision](published), ProtocolError);
    assert.equal(machine.state, 'CLOSED');
    throw error;
  }
  assert.equal(machine.state, expected?.state);
  assert.equal(machine.peer.domain, expected.peer);
  assert.equal(machine.peer.version, expected.version);
  assert.equal(machine.peer.fingerprint.toString('hex'), expected.fingerprint);
  assert.deepEqual(Object.fromEntries([...machine.peer.extensions].map(([k, v]) => [k, v.toString('hex')])), expected.extensions);
  assert.equal(machine.peer.statement.toString('hex'), expected.statement);
  for (const [signer, text] of [[DIALLER, expected.dialler_signs], [LISTENER, expected.listener_signs]]) {
    assert.equal(transcript(machine.channel, signer, machine.hellos[DIALLER], machine.hellos[LISTENER]).toString('hex'), text);
  }
});

consume('handshake/continuity.json', (given, expected) => {
  const statement = readStatement(hex(given.statement ?? STATEMENTS.get(given.of)));
  assert.equal(statement.old.toString('hex'), expected?.old);
  assert.equal(statement.new.toString('hex'), expected.new);
  assert.equal(Number(statement.sequence), expected.sequence);
  const facts = { domain: given.domain, pinned: hex(given.pinned), published: hex(given.published), now: given.now, lastSequence: given.last_sequence };
  assert.equal(proves(statement, facts), expected.proves);
});

test('handshake/run.json: keys, HELLOs, proofs and the first envelope', () => {
  const { given, expect } = RUN;
  const sent = (from, what) => hex(expect.accept.sent.find((s) => s.from === from && s.what === what).message);
  const ends = { dialler: end('dialler'), listener: end('listener') };
  const channel = {
    exporters: { [DIALLER]: hex(given.exporters[DIALLER]), [LISTENER]: hex(given.exporters[LISTENER]) },
    spki: { [DIALLER]: hex(given.dialler.spki_sha256), [LISTENER]: hex(given.listener.spki_sha256) },
    alpn: given.alpn, group: given.group,
  };
  for (const name of ['dialler', 'listener']) {
    const one = ends[name];
    assert.equal(one.identity.fingerprint.toString('hex'), given[name].fingerprint);
    assert.equal(crypto.tlsKeyDigest(hex(given[name].tls_seed)).toString('hex'), given[name].spki_sha256);
    const wanted = ends[name === 'dialler' ? 'listener' : 'dialler'].own;
    const hello = encodeMessage('HELLO', { versions: [1, 1], own: one.own, wanted, identity: one.identity.public, nonce: one.nonce, extensions: new Map() });
    assert.deepEqual(hello, sent(name, 'hello'));
    const role = name === 'dialler' ? DIALLER : LISTENER;
    const signed = transcript(channel, role, sent('dialler', 'hello'), sent('listener', 'hello'));
    crypto.verify(one.identity.public, signed, crypto.label('AUTH_CONTEXT'), decodeMessage(sent(name, 'auth')).signature);
  }
  assert.deepEqual(encodeMessage('OPEN', { stream: hex(given.stream) }), sent('dialler', 'open'));
  assert.deepEqual(encodeMessage('ACK', { stream: hex(given.stream), cursor: 0 }), sent('listener', 'ack'));
  assert.deepEqual(encodeMessage('BATCH', { stream: hex(given.stream), first: 1, envelopes: [hex(given.envelope)] }), sent('dialler', 'batch'));
  for (const { frame, message, from } of expect.accept.sent.filter((s) => s.frame)) {
    const head = hex(frame);
    const size = message.length / 2;
    const masked = from === 'dialler' ? 0x80 : 0;
    const length = size < 126 ? [masked | size] : [masked | 126, size >> 8, size & 255];
    assert.deepEqual([...head.subarray(0, 1 + length.length)], [0x82, ...length]);
    assert.equal(head.length, 1 + length.length + (masked ? 4 : 0));
  }
});
