import assert from 'node:assert/strict';
import test from 'node:test';
import { CODES, LABELS, TYPES } from '../src/codes.js';
import { decodeItem, decodeMessage, encodeItem, encodeMessage, fieldNames } from '../src/wire.js';
import { consume, hex, jsonForm, registry } from './vectors.js';

consume('wire/encoding.json', (given, expected) => {
  const item = decodeItem(hex(given.data));
  if (expected) assert.deepEqual(jsonForm(item), expected.item);
});

consume('wire/messages.json', (given, expected, id) => {
  const message = decodeMessage(hex(given.data), given.limit);
  if (!expected) return;
  assert.equal(message.type, expected.type);
  const fields = fieldNames(message.type).map((name, i) => [i + 1, jsonForm(message[name])]);
  assert.deepEqual({ map: fields }, expected.fields);
  const known = !id.endsWith('-and-more') && !id.endsWith('-default') && id !== 'unknown-code' && message.type !== 'HELLO';
  if (known) assert.equal(encodeMessage(message.type, message).toString('hex'), given.data);
});

test('a text may begin with a byte order mark, and keeps it', () => {
  const spelled = encodeItem('\ufeffa');
  assert.equal(decodeItem(spelled), '\ufeffa');
});

test('code points and labels are those of the registries', () => {
  const values = (name) => Object.fromEntries(registry(name).filter((e) => typeof e.value === 'number').map((e) => [e.name, e.value]));
  assert.deepEqual(TYPES, values('message-types'));
  assert.deepEqual(CODES, values('error-codes'));
  for (const [name, value] of Object.entries(LABELS)) {
    const entry = registry('labels').find((e) => e.name === name);
    assert.equal(Buffer.from(value, 'latin1').toString('hex'), entry.hex, name);
  }
});
