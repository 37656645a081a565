// The homeserver's side of mailboxes: claims, deliveries, acknowledgements, through edges (spec/edge.md).
//
// In: messages of edges beside their streams; a store. Out: challenges and answers, deliveries, deletions.
// Never: an edge's word for a mailbox; a deletion for an acknowledgement whose code is not right.

import { CODES, broken } from './codes.js';
import { encapsulate, framed, hkdf, hmac, label, mailboxId, random, sameCode, sha256, u64 } from './crypto.js';
import { readRegistration } from './relay.js';

const LIFE = 60;
const PENDING = 2048; // claims of one edge without a proof
const WINDOW = { envelopes: 1024, bytes: 4194304 };
const SHARES = [1, 0.75, 0.5]; // of the window, by class
const DELIVER = { envelopes: 256, bytes: 524288 };

/** Both keys of a claim, from the secret that its challenge carries. */
export function claimKeys(shared, { nonce, domain, edge, expiry }) {
  const bound = [nonce, Buffer.from(domain), edge, u64(expiry)];
  const salt = sha256(framed(...bound));
  return { bound, claim: hkdf(shared, salt, label('CLAIM_KEY'), 32), acknowledge: hkdf(shared, salt, label('ACKNOWLEDGE_KEY'), 32) };
}

/** The code that a PROOF has to show. */
export const proofCode = (keys, mailbox, registration) => hmac(keys.claim, framed(label('CLAIM'), ...keys.bound, mailbox, registration));

/** The code that an ACKNOWLEDGE has to show. */
export const acknowledgeCode = (key, mailbox, ids, digests) => hmac(key, framed(label('ACKNOWLEDGE'), mailbox, Buffer.concat(ids), Buffer.concat(digests)));

/** Judge a PROOF; gives the acknowledge key and the grants. */
export function judgeProof({ shared, challenge, mailbox, proof, now }) {
  const keys = claimKeys(shared, challenge);
  if (now > challenge.expiry) throw broken('BAD_PROOF', 'the challenge has expired');
  if (!sameCode(proof.mac, proofCode(keys, mailbox, proof.registration))) throw broken('BAD_PROOF', 'the proof is not right');
  return { acknowledgeKey: keys.acknowledge, grants: readRegistration(proof.registration) };
}

/** Judge an ACKNOWLEDGE: `digestOf(id)` is that of what is under way, or undefined. */
export function judgeAcknowledge({ key, mailbox, digestOf, ids, mac }) {
  const digests = ids.map((id) => digestOf(id));
  const distinct = new Set(ids.map((id) => id.toString('hex')));
  if (distinct.size !== ids.length || digests.includes(undefined)) throw broken('BAD_PROOF', 'not what is under way');
  if (!sameCode(mac, acknowledgeCode(key, mailbox, ids, digests))) throw broken('BAD_PROOF', 'the acknowledgement is not right');
}

const hex = (bytes) => bytes.toString('hex');

export class Mailboxes {
  /** `held`: by mailbox (hex), who has claimed it: {link, request, mailbox, key, underWay, after}. */
  held = new Map();
  #pending = new WeakMap(); // of each edge link: claims without a proof, by number

  /** @param {{own: string, store: object, now: () => number}} o `now`: the wall clock in seconds */
  constructor({ own, store, now }) {
    Object.assign(this, { own, store, now });
  }

  onCLAIM(link, { request, key }) {
    const pending = this.#of(link);
    for (const [number, one] of pending) if (one.challenge.expiry < this.now()) pending.delete(number);
    const inUse = [...this.held.values()].some((held) => held.link === link && held.request === request);
    if (inUse || pending.has(request)) throw broken('UNEXPECTED', 'the number of a request is in use');
    if (pending.size >= PENDING) return this.#refuse(link, request, 'BUSY', 'too many claims');
    let made;
    try {
      made = encapsulate(key);
    } catch (error) {
      return this.#refuse(link, request, error.code, error.message);
    }
    const challenge = { request, ciphertext: made.ciphertext, nonce: random(32), domain: this.own, edge: link.fingerprint, expiry: this.now() + LIFE };
    pending.set(request, { challenge, shared: made.shared, mailbox: mailboxId(key) });
    return link.say('CHALLENGE', challenge);
  }

  #of(link) {
    if (!this.#pending.has(link)) this.#pending.set(link, new Map());
    return this.#pending.get(link);
  }

  #refuse(link, request, code, reason) {
    link.say('NOT_CLAIMED', { request, code: CODES[code], reason });
  }

  onPROOF(link, proof) {
    const { request, registration } = proof;
    const claim = this.#of(link).get(request);
    this.#of(link).delete(request);
    if (!claim) return this.#refuse(link, request, 'BAD_PROOF', 'there is no challenge');
    let judged;
    try {
      judged = judgeProof({ ...claim, proof, now: this.now() });
    } catch (error) {
      return this.#refuse(link, request, error.code, error.message);
    }
    try {
      this.store.register(claim.mailbox, registration, this.now());
    } catch {
      if (!this.store.registration(claim.mailbox)?.equals(registration)) return this.#refuse(link, request, 'OVERLOADED', 'cannot be stored');
    }
    const name = hex(claim.mailbox);
    const former = this.held.get(name);
    if (former) this.#refuse(former.link, former.request, 'REPLACED', 'claimed anew');
    const held = { link, request, mailbox: claim.mailbox, key: judged.acknowledgeKey, underWay: new Map(), bytes: 0, after: [0, 0, 0] };
    this.held.set(name, held);
    link.say('CLAIMED', { request, mailbox: claim.mailbox });
    return this.deliver(name);
  }

  onRELEASE(link, { mailbox }) {
    if (this.held.get(hex(mailbox))?.link === link) this.held.delete(hex(mailbox));
  }

  onACKNOWLEDGE(link, { mailbox, ids, mac }) {
    const held = this.held.get(hex(mailbox));
    if (held?.link !== link) return;
    try {
      judgeAcknowledge({ key: held.key, mailbox, ids, mac, digestOf: (id) => held.underWay.get(hex(id))?.digest });
    } catch {
      return; // an honest device sends one when its claim has just been replaced
    }
    const done = ids.map((id) => held.underWay.get(hex(id)));
    this.store.remove(done.map((one) => one.seq));
    ids.forEach((id) => held.underWay.delete(hex(id)));
    held.bytes -= done.reduce((sum, one) => sum + one.size, 0);
    this.deliver(hex(mailbox));
  }

  /** Every claim through this link ends with it. */
  lost(link) {
    for (const [name, held] of this.held) if (held.link === link) this.held.delete(name);
  }

  /** Deliver what there is room for, the more urgent classes first. */
  deliver(name) {
    const held = this.held.get(name);
    if (!held) return;
    let envelopes = [];
    let size = 0;
    const flush = () => {
      if (envelopes.length) held.link.say('DELIVER', { envelopes });
      [envelopes, size] = [[], 0];
    };
    for (const urgency of [0, 1, 2]) {
      for (;;) {
        if (held.underWay.size >= WINDOW.envelopes * SHARES[urgency] || held.bytes >= WINDOW.bytes * SHARES[urgency]) break;
        const [row] = this.store.mail(held.mailbox, urgency, held.after[urgency], 1);
        if (!row || held.underWay.has(hex(row.id))) break; // another envelope of the same id: once the first is acknowledged
        if (envelopes.length >= DELIVER.envelopes || size + row.bytes.length > DELIVER.bytes) flush();
        held.after[urgency] = row.seq;
        held.underWay.set(hex(row.id), { seq: row.seq, digest: sha256(row.bytes), size: row.bytes.length });
        held.bytes += row.bytes.length;
        envelopes.push(row.bytes);
        size += row.bytes.length;
      }
    }
    flush();
  }
}

