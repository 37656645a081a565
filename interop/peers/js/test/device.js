// What a device computes and a homeserver does not: tests play devices with it (spec/crypto.md, Sealing).

import crypto from 'node:crypto';
import { badMessage } from '../src/codes.js';
import { hmac, mailbox, u16 } from '../src/crypto.js';

const SUITE = Buffer.concat([Buffer.from('HPKE'), u16(0x647a), u16(0x0001), u16(0x0002)]);
const VERSION = Buffer.from('HPKE-v1');
const extract = (salt, name, x) => hmac(salt.length ? salt : Buffer.alloc(32), VERSION, SUITE, Buffer.from(name), x);

function expand(key, name, x, n) {
  const info = Buffer.concat([u16(n), VERSION, SUITE, Buffer.from(name), x]);
  return hmac(key, info, Buffer.from([1])).subarray(0, n); // never more than one block here
}

export function keySchedule(shared, info) {
  const none = Buffer.alloc(0);
  const context = Buffer.concat([Buffer.from([0]), extract(none, 'psk_id_hash', none), extract(none, 'info_hash', info)]);
  const secret = extract(shared, 'secret', none);
  return { key: expand(secret, 'key', context, 32), nonce: expand(secret, 'base_nonce', context, 12) };
}

export function open(seed, sealed, info, aad) {
  if (sealed.length < 1136) throw badMessage('a sealed text has at least 1136 bytes');
  const { key, nonce } = keySchedule(mailbox(seed).open(sealed.subarray(0, 1120)), info);
  const cipher = crypto.createDecipheriv('aes-256-gcm', key, nonce).setAAD(aad).setAuthTag(sealed.subarray(-16));
  try {
    return Buffer.concat([cipher.update(sealed.subarray(1120, -16)), cipher.final()]);
  } catch {
    throw badMessage('the sealed text does not open');
  }
}
