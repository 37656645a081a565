import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import * as filters from '../src/filter.js';
import { Showing } from '../src/showing.js';
import { Viewing, piecesOf } from '../src/viewing.js';
import { block, sha256 } from '../src/crypto.js';
import { decodeMessage, encodeMessage } from '../src/wire.js';
import { consume, hex } from './vectors.js';

const member = (n) => createHash('shake256', { outputLength: 16 }).update(`member ${n}`).digest();

function filterOf(key, n, members) {
  const bits = Buffer.alloc(filters.CLASSES[n].bytes);
  for (let i = 0; i < members; i += 1) for (const p of filters.place(key, member(i), n)) bits[p >> 3] |= 1 << (p & 7);
  return bits;
}

consume('presence/tag.json', (given, expected) => {
  assert.equal(filters.tagOf(hex(given.key), BigInt(given.epoch), given.scope).toString('hex'), expected.tag);
});

consume('presence/placement.json', (given, expected) => {
  assert.equal(block(hex(given.key), hex(given.tag)).toString('hex'), expected.block);
  const { slice } = filters.CLASSES[given.class];
  assert.deepEqual(filters.place(hex(given.key), hex(given.tag), given.class).map((p, i) => p - i * slice), expected.positions);
});

consume('presence/filter.json', (given, expected) => {
  const bits = given.byte === undefined ? filterOf(hex(given.key), given.class, given.members) : Buffer.alloc(given.size, hex(given.byte));
  filters.checkFilter(bits, given.class);
  assert.deepEqual({
    size: bits.length, ones: filters.ones(bits), sha256: sha256(bits).toString('hex'), first: bits.subarray(0, 32).toString('hex'),
    filter_id: filters.filterId(hex(given.key)).toString('hex'),
  }, expected);
});

consume('presence/delta.json', (given, expected) => {
  const positions = filters.decodeChanges(hex(given.data), given.class);
  assert.deepEqual(positions, expected?.positions);
  assert.equal(filters.encodeChanges(positions, given.class).toString('hex'), given.data);
});

consume('presence/snapshot.json', (given, expected) => {
  const key = hex(given.key);
  const bits = filterOf(key, given.class, given.members);
  const encoded = [...piecesOf({ ...given, key, bits })].map((piece) => [piece[1].offset, encodeMessage(...piece)]);
  assert.deepEqual(encoded.map(([offset, bytes]) => ({
    offset, size: bytes.length, head: bytes.subarray(0, 48).toString('hex'), sha256: sha256(bytes).toString('hex'),
  })), expected.pieces);
});

function pieceOf({ bits, size, ...fields }) {
  const key = hex(fields.key);
  const whole = bits.byte === undefined ? filterOf(key, Math.min(fields.class, 4), bits.members) : Buffer.alloc(fields.offset + size, hex(bits.byte));
  const piece = Buffer.concat([whole.subarray(fields.offset), Buffer.alloc(size)]).subarray(0, size);
  return { type: 'PRESENCE_SNAPSHOT', ...fields, key, bits: piece };
}

const held = (filter) => filter && {
  filter_id: filter.id.toString('hex'), epoch: filter.epoch, sequence: filter.sequence, sha256: sha256(filter.bits).toString('hex'),
};

consume('presence/viewing.json', (given, expected, id, expect) => {
  const viewing = new Viewing();
  try {
    for (const step of given.steps) {
      if (step.do === 'wait') viewing.tick(step.t);
      else if (step.do) viewing[step.do]();
      else if (step.out) assert.equal(encodeMessage(...viewing.next()).toString('hex'), step.out);
      else if (step.state) assert.equal(viewing.state, step.state);
      else viewing.receive(typeof step.in === 'string' ? decodeMessage(hex(step.in)) : pieceOf(step.in), step.t);
    }
  } catch (error) {
    if (expect.reject) assert.deepEqual(held(viewing.filter), expect.reject.filter);
    throw error;
  }
  assert.equal(viewing.state, expected?.state);
  assert.deepEqual(held(viewing.filter), expected.filter);
});

/** A peer's copy, from what a showing homeserver sends. */
class Copy {
  keys = [];

  take([type, fields]) {
    if (type === 'PRESENCE_WITHDRAW') this.bits = null;
    if (type === 'PRESENCE_SNAPSHOT') {
      if (fields.offset === 0) Object.assign(this, { bits: Buffer.alloc(0), class: fields.class, key: fields.key });
      this.bits = Buffer.concat([this.bits, fields.bits]);
    }
    if (type === 'PRESENCE_DELTA') {
      assert.deepEqual(fields.filter, filters.filterId(this.key));
      for (const p of filters.decodeChanges(fields.changes, this.class)) this.bits[p >> 3] ^= 1 << (p & 7);
    }
  }

  get found() {
    if (!this.bits) return [];
    return Array.from({ length: 10 }, (_, i) => member(i)).filter((tag) => filters.has(this.bits, filters.place(this.key, tag, this.class)));
  }
}

consume('presence/showing.json', (given, expected) => {
  const showing = new Showing(given.pace);
  const copy = new Copy();
  const seen = new Set();
  for (const step of given.steps) {
    if (step.do === 'show') showing.show(step.epoch, Array.from({ length: step.members }, (_, i) => member(i).toString('hex')));
    else if (step.do === 'online' || step.do === 'offline') showing[step.do](step.tag);
    else if (step.do) showing[step.do]();
    else if (step.in?.resume !== undefined) {
      showing.receive({ type: 'PRESENCE_RESUME', filter: filters.filterId(copy.key), sequence: step.in.resume }, step.t);
    } else if (step.in) showing.receive(decodeMessage(hex(step.in)), step.t);
    else if (step.out === null) assert.equal(showing.next(step.t), null);
    else {
      const message = showing.next(step.t);
      const former = copy.key;
      const repeated = message[0] === 'PRESENCE_DELTA' && seen.has(message[1].sequence);
      if (!repeated) copy.take(message);
      if (message[0] === 'PRESENCE_SNAPSHOT') seen.clear();
      seen.add(message[1].sequence);
      const { type, key, ...fields } = step.out;
      assert.equal(message[0], type);
      for (const [name, value] of Object.entries(fields)) assert.equal(message[1][name], value);
      if (key) assert.equal(former?.equals(message[1].key) ? 'same' : 'new', key);
    }
  }
  assert.equal(showing.state, expected?.state);
  const found = copy.found.map((tag) => tag.toString('hex'));
  for (const tag of expected.found) assert.ok(found.includes(tag));
  assert.ok(found.length <= expected.found.length + 1);
});

test('steps keep a filter full, and leave nothing behind of who has gone', () => {
  const showing = new Showing('tick');
  const copy = new Copy();
  showing.show(1, []);
  showing.link();
  showing.receive({ type: 'PRESENCE_REQUEST' }, 0);
  copy.take(showing.next(0));
  for (let t = 2; t < 400; t += 2) {
    showing[t % 4 ? 'online' : 'offline'](member((t - (t % 4 ? 0 : 2)) % 10).toString('hex'));
    copy.take(showing.next(t));
    const share = filters.ones(copy.bits) / (copy.bits.length * 8);
    assert.ok(share > 0.37 && share < 0.42, String(share));
  }
});
