// Statements of continuity: a domain's old and new identity key say that the one follows the other (spec/handshake.md, spec/trust.md).
//
// In: the bytes of a statement. Out: its facts, or BadMessage: it is as good as none. Never: a fact of a statement that both keys have not signed.

import { badMessage } from './codes.js';
import { SIGNATURE, PUBLIC_KEY, fingerprint, label, verify } from './crypto.js';
import { decodeItem, isBytes, isDomain, isUint } from './wire.js';

const LONGEST = 366 * 86400;
const SKEW = 300;

/** @returns {{domain: string, sequence: number, notBefore: number, notAfter: number, old: Buffer, new: Buffer}} */
export function readStatement(bytes) {
  const item = decodeItem(bytes);
  const [encoded, byOld, byNew] = Array.isArray(item) && item.length === 3 ? item : [];
  if (!isBytes(encoded, 0, Infinity) || !isBytes(byOld, SIGNATURE) || !isBytes(byNew, SIGNATURE)) throw badMessage('not a statement');
  const body = decodeItem(encoded);
  if (!(body instanceof Map) || body.get(0) !== 1) throw badMessage('not a statement of version 1');
  const [domain, sequence, notBefore, notAfter, oldKey, newKey] = [1, 2, 3, 4, 5, 6].map((i) => body.get(i));
  if (!isDomain(domain) || ![sequence, notBefore, notAfter].every(isUint) || !isBytes(oldKey, PUBLIC_KEY) || !isBytes(newKey, PUBLIC_KEY)) {
    throw badMessage('not a statement');
  }
  if (notAfter <= notBefore || BigInt(notAfter) - BigInt(notBefore) > LONGEST) throw badMessage('a statement valid for no time, or for too long');
  if (oldKey.equals(newKey)) throw badMessage('a statement without a change');
  try {
    verify(oldKey, Buffer.concat([label('CONTINUITY_OLD'), encoded]), label('CONTINUITY_CONTEXT'), byOld);
    verify(newKey, Buffer.concat([label('CONTINUITY_NEW'), encoded]), label('CONTINUITY_CONTEXT'), byNew);
  } catch {
    throw badMessage('a statement that is not rightly signed');
  }
  return { domain, sequence, notBefore, notAfter, old: fingerprint(oldKey), new: fingerprint(newKey) };
}

/** Whether a domain that is pinned to one identity goes on as another, published one. */
export function proves(statement, { domain, pinned, published, now, lastSequence }) {
  return statement.domain === domain && statement.old.equals(pinned) && statement.new.equals(published)
    && statement.notBefore <= now + SKEW && now - SKEW <= statement.notAfter
    && statement.sequence > lastSequence && statement.sequence <= now + SKEW;
}
