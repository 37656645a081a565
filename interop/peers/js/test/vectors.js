// What the tests share: the vector files, the JSON form of items, and the judgement of one case.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { ProtocolError } from '../src/codes.js';

const SPEC = new URL('../../../../spec/', import.meta.url);
export const registry = (name) => JSON.parse(readFileSync(new URL(`registries/${name}.json`, SPEC), 'utf8')).entries;
export const read = (file) => JSON.parse(readFileSync(new URL(`vectors/${file}`, SPEC), 'utf8'));
export const everyFile = () => readdirSync(new URL('vectors/', SPEC), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .flatMap(({ name }) => readdirSync(new URL(`vectors/${name}/`, SPEC)).map((file) => `${name}/${file}`));
export const hex = (text) => Buffer.from(text, 'hex');

/** An item in the JSON form of the vectors. */
export function jsonForm(item) {
  if (Buffer.isBuffer(item)) return { bytes: item.toString('hex') };
  if (typeof item === 'bigint') return { uint: String(item) };
  if (Array.isArray(item)) return item.map(jsonForm);
  if (item instanceof Map) return { map: [...item].map(([k, v]) => [jsonForm(k), jsonForm(v)]) };
  return item;
}

/**
 * A test for each case of a file. `judge(given, expected, id, expect)` is called with what is accepted, or with null where a refusal is due; it throws the
 * ProtocolError in that case.
 */
export function consume(file, judge) {
  const { cases } = read(file);
  for (const { id, given, expect } of cases) {
    test(`${file}: ${id}`, () => {
      if (expect.accept) return judge(given, expect.accept, id, expect);
      try {
        judge(given, null, id, expect);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        const { code, class: kind } = expect.reject;
        if (kind !== undefined) assert.equal(error.kind, kind);
        assert.equal(error.code, code);
        return undefined;
      }
      return assert.fail('was accepted');
    });
  }
}
