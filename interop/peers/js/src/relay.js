// Envelopes: their form, where they go, and what becomes of a batch (spec/relay.md, spec/router.md).
//
// In: batches from devices (through an edge) and from peers; the policy; a store. Out: a refusal for each envelope that is not taken; the rest is stored.
// Never: a look at the body; a word about a mailbox in a refusal; an answer before the store has confirmed.

import { CODES, badMessage } from './codes.js';
import { label, sha256 } from './crypto.js';
import { opens } from './trust.js';
import { decodeItem, isBytes, isDomain, isScope, isUint } from './wire.js';

const BODIES = new Set([1024, 2048, 4096, 8192, 16384, 32768, 65536]);
const LIFE = 604800;
const SKEW = 300;
export const LIMITS = {
  mailbox_envelopes: 1000, mailbox_bytes: 16777216, queue_envelopes_per_peer: 100000, queue_bytes_per_peer: 268435456,
  queue_envelopes: 1000000, queue_bytes: 2147483648, queue_domains: 10000,
};

/** @returns {{mailbox: Buffer, domain: string, id: Buffer, expiry: number|bigint, urgency: number, capability: Buffer, body: Buffer, bytes: Buffer}} */
export function readEnvelope(bytes) {
  const item = decodeItem(bytes);
  if (!Array.isArray(item) || item.length !== 8) throw badMessage('not an envelope');
  const [version, mailbox, domain, id, expiry, urgency, capability, body] = item;
  if (version !== 1) throw badMessage('an envelope of another version', isUint(version) ? 'UNSUPPORTED_VERSION' : 'MALFORMED');
  const good = isBytes(mailbox, 32) && isDomain(domain) && isBytes(id, 16) && isUint(expiry) && [0, 1, 2].includes(urgency)
    && isBytes(capability, 16) && Buffer.isBuffer(body) && BODIES.has(body.length);
  if (!good) throw badMessage('not an envelope');
  return { mailbox, domain, id, expiry, urgency, capability, body, bytes };
}

/** What a mailbox lets in: [{hash, scopes}], in the one order that counts. */
export function readRegistration(bytes) {
  const item = decodeItem(bytes);
  if (!Array.isArray(item) || item.length !== 2 || item[0] !== 1 || !Array.isArray(item[1]) || item[1].length > 256) throw badMessage('not a registration');
  const ascending = (list, order) => list.every((one, i) => i === 0 || order(list[i - 1], one) < 0);
  const grants = item[1].map((grant) => {
    const [hash, scopes] = Array.isArray(grant) && grant.length === 2 ? grant : [];
    if (!isBytes(hash, 32) || !Array.isArray(scopes) || scopes.length > 64 || !scopes.every(isScope)) throw badMessage('not a grant');
    if (!ascending(scopes, (a, b) => (a < b ? -1 : Number(a > b)))) throw badMessage('scopes out of order');
    return { hash, scopes };
  });
  if (!ascending(grants.map((g) => g.hash), Buffer.compare)) throw badMessage('grants out of order');
  return grants;
}

const refuse = (code, reason) => ({ code: CODES[code], reason });
const UNDELIVERABLE = refuse('UNDELIVERABLE', 'cannot be delivered');

export class Relay {
  /** @param {{own: string, store: object, level: (domain: string) => string, limits?: object}} o */
  constructor({ own, store, level, limits = {} }) {
    Object.assign(this, { own, store, level, limits: { ...LIMITS, ...limits } });
  }

  /**
   * Take a batch from a peer (`from` is its domain) or from a device (`from` is null), in one transaction with what `also(refusals)` stores.
   * @returns {{refusals: Array<[number, number, string]>, mailboxes: Set<string>, queued: Array<{domain: string, seq: number, id: Buffer}>}} refusals
   *   by index in the batch; which mailboxes (hex) have got something; what waits for a peer
   */
  intake(from, envelopes, now, also = () => {}) {
    return this.store.transaction(() => {
      const result = { refusals: [], mailboxes: new Set(), queued: [] };
      envelopes.forEach((bytes, index) => {
        const refusal = this.#one(from, bytes, now, result);
        if (refusal) result.refusals.push([index, refusal.code, refusal.reason]);
      });
      also(result.refusals);
      return result;
    });
  }

  #one(from, bytes, now, result) {
    let envelope;
    try {
      envelope = readEnvelope(bytes);
    } catch (error) {
      return refuse(error.code, error.message);
    }
    if (envelope.expiry < now - SKEW) return refuse('EXPIRED', 'expired');
    if (envelope.expiry > now + LIFE + SKEW) return refuse('MALFORMED', 'lives too long');
    const { domain } = envelope;
    if (from !== null) {
      if (domain !== this.own) return refuse('UNKNOWN_DOMAIN', 'not a domain of this homeserver');
      if (!opens('relay in', this.level(from))) return refuse('POLICY', 'envelopes are not taken from here');
    } else if (domain !== this.own) {
      if (!opens('relay out', this.level(domain))) return refuse('POLICY', `envelopes to ${domain} are not relayed`);
      return this.#queue(domain, envelope, result);
    }
    return this.#deliver(from, envelope, result);
  }

  #deliver(from, envelope, result) {
    const hash = sha256(label('CAPABILITY'), envelope.capability);
    const registration = this.store.registration(envelope.mailbox);
    const grant = (registration ? readRegistration(registration) : []).find((one) => one.hash.equals(hash));
    const room = this.store.room(envelope.mailbox);
    if (!grant || (from !== null && !opens('deliver', this.level(from), from, grant.scopes))) return UNDELIVERABLE;
    if (this.store.known(envelope.id, envelope.expiry)) return null;
    if (room.envelopes >= this.limits.mailbox_envelopes || room.bytes + envelope.bytes.length > this.limits.mailbox_bytes) return UNDELIVERABLE;
    this.store.deposit(envelope);
    result.mailboxes.add(envelope.mailbox.toString('hex'));
    return null;
  }

  #queue(domain, envelope, result) {
    const { limits } = this;
    const here = this.store.queued(domain);
    const all = this.store.queuedInAll();
    const full = here.envelopes >= limits.queue_envelopes_per_peer || here.bytes >= limits.queue_bytes_per_peer
      || all.envelopes >= limits.queue_envelopes || all.bytes >= limits.queue_bytes || (here.envelopes === 0 && all.domains >= limits.queue_domains);
    if (full) return refuse('OVERLOADED', 'too much waits for this domain');
    result.queued.push({ domain, seq: this.store.enqueue(domain, envelope), id: envelope.id });
    return null;
  }
}
