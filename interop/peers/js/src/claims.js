// What unproved claims may cost a listener (spec/handshake.md, Unproved claims).
//
// In: claims and proofs, with address and TLS key of the caller; word that a look-up is over. Out: whether a claim may be looked up. Never: a count against a claimed domain.

import { broken } from './codes.js';

const SPAN = 60;
const LOOK_UP = 15; // seconds after which a look-up counts as over in any case
const KEYS = 8;
const DOMAINS = 4096;
const NAMES = 10000; // things that are counted before old ones are looked for
const BOUNDS = { pair: 6, address: 30, strangers: 600 };
const PROOFS = 20; // of one domain in SPAN: this many at once, and then one after the other

/** An IPv4 address, or the /64 of an IPv6 one. */
export function network(address) {
  if (!address.includes(':')) return address;
  if (address.startsWith('::ffff:') && address.includes('.')) return address.slice(7);
  const [head, tail = ''] = address.split('::');
  const groups = head.split(':').filter(Boolean);
  const rest = tail.split(':').filter(Boolean);
  return [...groups, ...Array(Math.max(0, 8 - groups.length - rest.length)).fill('0'), ...rest].slice(0, 4).join(':');
}

export class Claims {
  #times = new Map(); // of each thing that is counted: when
  #lookUps = new Map(); // of each caller and domain: the claim that is looked up
  #proved = new Map(); // of each domain, the one that proved itself last at the end: its TLS keys, in the same order
  #proofs = new Map(); // of each domain: {left, at}, proofs that are left of those allowed, and when

  #count(name, now) {
    const kept = (this.#times.get(name) ?? []).filter((t) => now - t < SPAN);
    if (kept.length) this.#times.set(name, kept);
    else this.#times.delete(name);
    return kept.length;
  }

  #note(name, now) { this.#times.set(name, [...(this.#times.get(name) ?? []), now]); }

  /** In how many seconds the oldest of what was counted counts no longer. */
  #wait(counted, now) {
    const oldest = Math.min(...counted.map(([name]) => this.#times.get(name)?.[0] ?? now));
    return Math.max(1, Math.ceil(oldest + SPAN - now));
  }

  #prune(now) {
    if (this.#times.size > NAMES) for (const name of [...this.#times.keys()]) this.#count(name, now);
    if (this.#lookUps.size > NAMES) for (const [name, { at }] of [...this.#lookUps]) if (now - at >= LOOK_UP) this.#lookUps.delete(name);
    if (this.#proofs.size > NAMES) for (const domain of [...this.#proofs.keys()]) if (this.#left(domain, now) >= PROOFS) this.#proofs.delete(domain);
  }

  /** How many proofs of a domain are allowed now. */
  #left(domain, now) {
    const { left, at } = this.#proofs.get(domain) ?? { left: PROOFS, at: now };
    return Math.min(PROOFS, left + (now - at) * (PROOFS / SPAN));
  }

  #bound(domain, now) {
    const left = this.#left(domain, now);
    if (left < 1) throw broken('BUSY', 'too many links', Math.ceil((1 - left) * (SPAN / PROOFS)));
    return left;
  }

  /** Count a claim, or refuse it. Gives what `over` and `proof` are to be told of it. */
  claim(domain, address, key, now) {
    this.#prune(now);
    const from = network(address);
    const stranger = !this.#proved.get(domain)?.includes(key);
    const name = stranger ? `pair ${domain} ${from}` : `known ${domain} ${key}`;
    const counted = stranger ? [[name, BOUNDS.pair], [`address ${from}`, BOUNDS.address], ['strangers', BOUNDS.strangers]] : [[name, BOUNDS.pair]];
    const other = this.#lookUps.get(name);
    if (other && now - other.at < LOOK_UP) throw broken('BUSY', 'this claim is being looked up', 1);
    this.#bound(domain, now);
    if (counted.some(([one, bound]) => this.#count(one, now) >= bound)) throw broken('BUSY', 'too many claims', this.#wait(counted, now));
    for (const [one] of counted) this.#note(one, now);
    const claim = { domain, from, key, name, at: now };
    this.#lookUps.set(name, claim);
    return claim;
  }

  /** The claimed domain was looked up, whatever came of it. */
  over(claim) { if (this.#lookUps.get(claim.name) === claim) this.#lookUps.delete(claim.name); }

  /** The claim was proved: it costs nothing, but too many proofs do. */
  proof(claim, now) {
    const { domain, from, key } = claim;
    this.over(claim);
    const wiped = this.#times.get(`pair ${domain} ${from}`)?.length ?? 0;
    this.#times.delete(`pair ${domain} ${from}`);
    this.#times.delete(`known ${domain} ${key}`);
    for (const name of [`address ${from}`, 'strangers']) this.#times.get(name)?.splice(-wiped, wiped);
    const keys = (this.#proved.get(domain) ?? []).filter((one) => one !== key);
    this.#proved.delete(domain); // so that it is put in as the youngest
    this.#proved.set(domain, [...keys, key].slice(-KEYS));
    if (this.#proved.size > DOMAINS) this.#proved.delete(this.#proved.keys().next().value);
    this.#proofs.set(domain, { left: this.#bound(domain, now) - 1, at: now });
  }
}
