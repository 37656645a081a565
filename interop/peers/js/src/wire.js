// Messages as bytes and back (spec/wire.md): the restricted deterministic CBOR, the form of each message, common types.
//
// In: bytes of one WebSocket message, or a message's name and fields. Out: {type, ...fields} with the defaults filled in, or bytes.
// Never: an error other than ProtocolError for bytes from outside; a second spelling of an item.

import { decode as cborDecode, encode as cborEncode, rfc8949EncodeOptions, Tokenizer } from 'cborg';
import { CODES, NAMES, TYPES, badMessage } from './codes.js';

export const MAX_MESSAGE = 1048576;
export const MAX_HANDSHAKE_MESSAGE = 16384;
export const MAX_ENVELOPE = 66560;
const MAX_NESTING = 8;
const MAX_UINT = 2n ** 64n - 1n;

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads only what the profile allows, and no deeper than it allows. */
class Profile extends Tokenizer {
  open = []; // how many items each array or map that has begun still lacks

  next() {
    const token = super.next();
    while (this.open.length && this.open.at(-1) === 0) this.open.pop();
    if (this.open.length) this.open[this.open.length - 1] -= 1;
    switch (token.type.name) {
      case 'uint': case 'true': case 'false': break;
      case 'bytes': token.value = Buffer.from(token.value.buffer, token.value.byteOffset, token.value.length); break;
      case 'string': token.value = text.decode(token.byteValue); break;
      case 'array': this.#nest(token.value); break;
      case 'map': this.#nest(2 * token.value); break;
      default: throw new Error(`${token.type.name} is not of the profile`);
    }
    return token;
  }

  #nest(items) {
    if (this.open.length >= MAX_NESTING) throw new Error('nested too deep');
    if (items > this.data.length - this.pos()) throw new Error('more items than bytes');
    this.open.push(items);
  }
}

const READ = { strict: true, allowBigInt: true, allowIndefinite: false, allowUndefined: false, useMaps: true, rejectDuplicateMapKeys: true, retainStringBytes: true };

/** One item of the profile from its one spelling; maps become Map, integers from 2^53 on BigInt, bytes Buffer. */
export function decodeItem(bytes) {
  let item;
  try {
    item = cborDecode(bytes, { ...READ, tokenizer: new Profile(bytes, READ) });
    checkKeys(item);
  } catch (error) {
    throw badMessage(`not an item of the profile: ${error.message}`);
  }
  if (!encodeItem(item).equals(bytes)) throw badMessage('not the one spelling of the item');
  return item;
}

function checkKeys(item) {
  if (Array.isArray(item)) item.forEach(checkKeys);
  else if (item instanceof Map) {
    for (const [key, value] of item) {
      if (!isUint(key)) throw new Error('a key that is no unsigned integer');
      checkKeys(value);
    }
  }
}

export const encodeItem = (item) => Buffer.from(cborEncode(item, rfc8949EncodeOptions));

// --- forms: each says whether a value is one ---

export const isUint = (v) => (Number.isSafeInteger(v) && v >= 0) || (typeof v === 'bigint' && v >= 0n && v <= MAX_UINT);
export const isBytes = (v, least, most = least) => Buffer.isBuffer(v) && v.length >= least && v.length <= most;
const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
export const isDomain = (v) => typeof v === 'string' && v.length >= 1 && v.length <= 253 && DOMAIN.test(v);
export const isScope = (v) => v === '*' || isDomain(v);
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
export const isShortText = (v) => typeof v === 'string' && v.length <= 1024 && [...v].length <= 512 && !UNPRINTABLE.test(v);

const bytes = (least, most) => (v) => isBytes(v, least, most);
const list = (most, each, least = 0) => (v) => Array.isArray(v) && v.length >= least && v.length <= most && v.every(each);
const tuple = (...each) => (v) => Array.isArray(v) && v.length === each.length && each.every((form, i) => form(v[i]));
const range = tuple(isUint, isUint); // that it is not reversed, the handshake sees to
const extensions = (v) => v instanceof Map && v.size <= 16 && [...v.values()].every(bytes(0, 1024));
const isEnvelope = bytes(0, MAX_ENVELOPE);
const isId = bytes(16);
const isOutcome = tuple(isId, isUint, isShortText);

/** Each message: its fields in order, as [name, form] or, where it may be left out, [name, form, default]. */
const FORMS = {
  HELLO: [['versions', range], ['own', isDomain], ['wanted', isDomain], ['identity', bytes(1984)], ['nonce', bytes(32)], ['extensions', extensions]],
  AUTH: [['signature', bytes(3373)], ['statement', bytes(0, 12288), Buffer.alloc(0)]],
  REFUSE: [['code', isUint], ['reason', isShortText], ['retryAfter', isUint, 0]],
  OPEN: [['stream', bytes(8)]],
  BATCH: [['stream', bytes(8)], ['first', (v) => isUint(v) && v > 0], ['envelopes', list(256, isEnvelope, 1)]],
  ACK: [['stream', bytes(8)], ['cursor', isUint], ['refusals', list(1024, tuple(isUint, isUint, isShortText)), []],
    ['window', isUint, 1024], ['windowBytes', isUint, 1048576]],
  CLOSE: [['code', isUint], ['reason', isShortText], ['retryAfter', isUint, 0]],
  PING: [['token', isUint]],
  PONG: [['token', isUint]],
  CLAIM: [['request', isUint], ['key', bytes(1216)]],
  CHALLENGE: [['request', isUint], ['ciphertext', bytes(1120)], ['nonce', bytes(32)], ['domain', isDomain], ['edge', bytes(32)], ['expiry', isUint]],
  PROOF: [['request', isUint], ['mac', bytes(32)], ['registration', bytes(0, MAX_ENVELOPE)]],
  CLAIMED: [['request', isUint], ['mailbox', bytes(32)]],
  NOT_CLAIMED: [['request', isUint], ['code', isUint], ['reason', isShortText]],
  ACKNOWLEDGE: [['mailbox', bytes(32)], ['ids', list(1024, isId)], ['mac', bytes(32)]],
  RELEASE: [['mailbox', bytes(32)]],
  RECEIPT: [['outcomes', list(1024, isOutcome)]],
  ANNOUNCE: [['number', isUint, 0], ['epoch', isUint], ['tags', list(64, tuple(isScope, isId))]],
  RETRACT: [['number', isUint, 0]],
  WATCH: [['domain', isDomain]],
  UNWATCH: [['domain', isDomain], ['code', isUint, 0], ['reason', isShortText, '']],
  SHOWN: [['domain', isDomain], ['message', bytes(0, MAX_MESSAGE)]],
  WELCOME: [['domain', isDomain], ['edge', bytes(32)]],
  SUBMIT: [['envelopes', list(256, isEnvelope)]],
  SUBMITTED: [['accepted', list(1024, isId)], ['refused', list(1024, isOutcome), []]],
  DELIVER: [['envelopes', list(256, isEnvelope)]],
  PRESENCE_RESUME: [['filter', bytes(8)], ['sequence', isUint]],
  PRESENCE_REQUEST: [],
  PRESENCE_SNAPSHOT: [['epoch', isUint], ['key', bytes(32)], ['class', isUint], ['sequence', isUint], ['offset', isUint], ['bits', bytes(0, MAX_MESSAGE)]],
  PRESENCE_DELTA: [['filter', bytes(8)], ['sequence', isUint], ['changes', bytes(0, MAX_MESSAGE)]],
  PRESENCE_WITHDRAW: [],
};
const BY_NUMBER = new Map(Object.entries(TYPES).map(([name, number]) => [number, name]));

/** The names of a message's fields, in the order of their numbers from 1 on. */
export const fieldNames = (type) => FORMS[type].map(([name]) => name);

/** Read one message; its codes are known ones, its bytes are whole. */
export function decodeMessage(data, limit = MAX_MESSAGE) {
  if (data.length > limit) throw badMessage(`a message of ${data.length} bytes`);
  const item = decodeItem(data);
  if (!(item instanceof Map)) throw badMessage('a message is a map');
  const type = BY_NUMBER.get(item.get(0));
  if (type === undefined) throw badMessage('a message of an unknown type', 'UNEXPECTED');
  const message = { type };
  FORMS[type].forEach(([name, form, whenAbsent], i) => {
    const value = item.get(i + 1);
    if (value === undefined) {
      if (whenAbsent === undefined) throw badMessage(`${type} lacks field ${i + 1}`);
      message[name] = whenAbsent;
    } else {
      if (!form(value)) throw badMessage(`${type}: field ${i + 1} is not of its form`);
      message[name] = value;
    }
  });
  if ('code' in message && NAMES[message.code] === undefined) message.code = CODES.UNEXPECTED;
  return message;
}

const same = (a, b) => a === b || (Buffer.isBuffer(a) && a.equals(b)) || (Array.isArray(a) && a.length === 0 && b.length === 0);

/** Spell one message; optional fields that hold their default are left out. */
export function encodeMessage(type, fields = {}) {
  const item = new Map([[0, TYPES[type]]]);
  FORMS[type].forEach(([name, form, whenAbsent], i) => {
    const value = fields[name] ?? whenAbsent;
    if (whenAbsent !== undefined && same(value, whenAbsent)) return;
    if (!form(value)) throw new TypeError(`${type}.${name} is not of its form`);
    item.set(i + 1, value);
  });
  return encodeItem(item);
}
