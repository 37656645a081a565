// What unproved claims may cost a listener (spec/handshake.md, Unproved claims).
//
// In: claims and proofs, with address and TLS key of the caller. Out: whether a claim may be looked up. Never: a count against a claimed domain.

import { broken } from './codes.js';

const SPAN = 60;
const KEYS = 8;
const DOMAINS = 4096;
const BOUNDS = { pair: 6, address: 30, strangers: 600, proofs: 20 };

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
  #proved = new Map(); // of each domain: TLS keys with which it proved itself

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

  /** Count a claim, or refuse it. */
  claim(domain, address, key, now) {
    if (this.#times.size > 10000) for (const name of [...this.#times.keys()]) this.#count(name, now);
    const from = network(address);
    const stranger = !this.#proved.get(domain)?.includes(key);
    const counted = stranger
      ? [[`pair ${domain} ${from}`, BOUNDS.pair], [`address ${from}`, BOUNDS.address], ['strangers', BOUNDS.strangers]]
      : [[`known ${domain} ${key}`, BOUNDS.pair]];
    if (counted.some(([name, bound]) => this.#count(name, now) >= bound)) throw broken('BUSY', 'too many claims', this.#wait(counted, now));
    for (const [name] of counted) this.#note(name, now);
  }

  /** The claim was proved: it costs nothing, but too many proofs do. */
  proof(domain, address, key, now) {
    const from = network(address);
    const wiped = this.#times.get(`pair ${domain} ${from}`)?.length ?? 0;
    this.#times.delete(`pair ${domain} ${from}`);
    this.#times.delete(`known ${domain} ${key}`);
    for (const name of [`address ${from}`, 'strangers']) this.#times.get(name)?.splice(-wiped, wiped);
    const keys = this.#proved.get(domain) ?? [];
    if (keys.includes(key)) return; // a link that breaks again and again is not what the bound is about
    this.#proved.set(domain, [...keys, key].slice(-KEYS));
    if (this.#proved.size > DOMAINS) this.#proved.delete(this.#proved.keys().next().value);
    if (this.#count(`proofs ${domain}`, now) >= BOUNDS.proofs) throw broken('BUSY', 'too many links', this.#wait([[`proofs ${domain}`]], now));
    this.#note(`proofs ${domain}`, now);
  }
}
