// Bloom filters of presence tags: geometry, placement, and the coding of changes (spec/presence.md, Filters).
//
// In: tags, keys, lists of bits, coded changes. Out: the same as bits, or BadMessage. Never: two codings of one list.

import { badMessage } from './codes.js';
import { block, hmac, label, sha256, u64 } from './crypto.js';

const SLICES = 8;
export const PIECE = 65536;
const FULLEST = 0.45;
const SMALLEST = 64;
const LARGEST = 262144;
export const CLASSES = [0, 1, 2, 3, 4].map((n) => {
  const tags = 4096 * 4 ** n;
  return { tags, slice: 2 * tags, bits: 16 * tags, bytes: 2 * tags };
});

export const tagOf = (key, epoch, scope) => hmac(key, label('PRESENCE'), u64(epoch), Buffer.from(scope)).subarray(0, 16);
export const filterId = (key) => sha256(label('PRESENCE_FILTER'), key).subarray(0, 8);

/** The eight bits of an encrypted tag (or of a dummy in its place), within the whole filter. */
export function bitsOf(encrypted, n) {
  const m = CLASSES[n].slice;
  const a = encrypted.readUInt32LE(0) & (m - 1); // a slice is a power of two: the low bits are enough
  const s = (encrypted.readUInt32LE(8) | 1) & (m - 1);
  return Array.from({ length: SLICES }, (_, i) => i * m + ((a + i * s) & (m - 1)));
}

export const place = (key, tag, n) => bitsOf(block(key, tag), n);

export const has = (filter, bits) => bits.every((p) => filter[p >> 3] & (1 << (p & 7)));

const ONES = Uint8Array.from({ length: 256 }, (_, b) => b.toString(2).replaceAll('0', '').length);
export const ones = (filter) => filter.reduce((sum, byte) => sum + ONES[byte], 0);

/** Refuse what is no filter of its class. */
export function checkFilter(filter, n) {
  const size = CLASSES[n]?.bytes;
  if (size === undefined || filter.length !== size) throw badMessage('not a filter of its class', 'BAD_FILTER');
  if (ones(filter) > FULLEST * size * 8) throw badMessage('too many bits are set', 'BAD_FILTER');
}

export const overfull = (set, n) => set > FULLEST * CLASSES[n].bits;

// --- changes ---

const low = (total, n) => (n === 0 ? 0 : Math.max(0, Math.floor(Math.log2(Math.max(1, Math.floor((11 * total) / (16 * n)))))));

function sizeFor(bytes) {
  for (let base = SMALLEST; ; base *= 2) {
    if (bytes <= base) return base;
    if (bytes <= base + base / 2) return base + base / 2;
  }
}

/** Code a list of bits, ascending; may be longer than what may be sent. */
export function encodeChanges(positions, n) {
  const r = low(CLASSES[n].bits, positions.length);
  const gaps = positions.map((p, i) => (i === 0 ? p : p - positions[i - 1] - 1));
  const bits = positions.length * (r + 1) + gaps.reduce((sum, gap) => sum + (gap >>> r), 0);
  const out = Buffer.alloc(sizeFor(4 + Math.ceil(bits / 8)));
  out.writeUInt32LE(positions.length);
  let at = 32;
  const set = (value) => {
    if (value) out[at >> 3] |= 1 << (at & 7);
    at += 1;
  };
  for (const gap of gaps) for (let i = 0; i < r; i += 1) set((gap >>> i) & 1);
  for (const gap of gaps) {
    at += gap >>> r;
    set(1);
  }
  return out;
}

export const sendable = (changes, n) => changes.length <= LARGEST && changes.length <= CLASSES[n].bytes;

/** The bits that change, ascending. */
export function decodeChanges(data, n) {
  const wrong = () => badMessage('not the coding of a list of bits');
  if (data.length < SMALLEST || data.length > LARGEST) throw wrong();
  const count = data.readUInt32LE();
  const total = CLASSES[n].bits;
  const r = low(total, count);
  if (count * (r + 1) > (data.length - 4) * 8) throw wrong();
  const bit = (at) => (data[at >> 3] >> (at & 7)) & 1;
  const end = data.length * 8;
  let at = 32 + count * r;
  let previous = -1;
  const positions = [];
  for (let k = 0; k < count; k += 1) {
    let high = 0;
    while (at < end && !bit(at)) {
      at += 1;
      high += 1;
    }
    if (at >= end) throw wrong();
    at += 1;
    let gap = high * 2 ** r;
    for (let i = 0; i < r; i += 1) gap += bit(32 + k * r + i) * 2 ** i;
    previous += gap + 1;
    if (previous >= total) throw wrong();
    positions.push(previous);
  }
  if (!encodeChanges(positions, n).equals(data)) throw wrong();
  return positions;
}
