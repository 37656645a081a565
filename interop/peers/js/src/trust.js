// Levels and gates, the policy, and the identity that a domain is held to (spec/trust.md).
//
// In: the operator's policy; an identity that was shown and proved, what the domain publishes, a statement, what is remembered. Out: answers of
// gates; verdicts, and what is to be remembered. Never: a gate that is open because a rule is missing; a pin that is replaced before it is stored.

import { proves, readStatement } from './continuity.js';
import { isDomain } from './wire.js';

export const LEVELS = ['full', 'selective', 'metadata', 'none'];
const COOL_OFF = 259200;

/** Whether a gate is open at a level; `show` and `deliver` ask whom the user, or the mailbox, has named. */
export function opens(gate, level, domain, scopes) {
  const named = scopes?.includes(domain);
  const anybody = scopes?.includes('*');
  switch (gate) {
    case 'dial': case 'accept': case 'establish': case 'hear': return level !== 'none';
    case 'relay out': case 'relay in': return level === 'full' || level === 'selective';
    case 'deliver': return level === 'full' || (level === 'selective' && (named || anybody));
    case 'show': return level === 'selective' ? named : level !== 'none' && (named || anybody);
    default: throw new TypeError(gate);
  }
}

/** A pattern in canonical form, or null. */
function canonical(pattern) {
  if (typeof pattern !== 'string' || /[^\x20-\x7e]/.test(pattern)) return null;
  const folded = pattern.toLowerCase().replace(/\.$/, '');
  return isDomain(folded.replace(/^\*\./, '')) ? folded : null;
}

/** Of a domain: itself, then each suffix pattern that matches, longest first. */
function* matching(domain) {
  yield domain;
  for (let dot = domain.indexOf('.'); dot >= 0; dot = domain.indexOf('.', dot + 1)) yield `*${domain.slice(dot)}`;
}

export class Policy {
  /** @param {object} settings `default`, `deny`, `allow`, `levels`, `presence`. Throws an error with `keys`, all that are wrong. */
  constructor(settings) {
    this.wrong = [];
    const { default: base = 'selective', deny = [], allow, levels = {}, presence = {}, ...more } = settings;
    if (!LEVELS.includes(base)) this.wrong.push('default');
    this.default = base;
    this.deny = this.#set('deny', deny);
    this.allow = allow === undefined ? null : this.#set('allow', allow);
    this.levels = this.#map('levels', levels, LEVELS);
    this.presence = this.#map('presence', presence, ['tick', 'prompt']);
    this.wrong.push(...Object.keys(more));
    if (this.wrong.length) throw Object.assign(new Error('the policy has errors'), { keys: this.wrong });
  }

  #set(name, patterns) {
    const found = new Set();
    if (!Array.isArray(patterns)) this.wrong.push(name);
    else patterns.forEach((p, i) => (canonical(p) === null ? this.wrong.push(`${name}[${i}]`) : found.add(canonical(p))));
    return found;
  }

  #map(name, entries, values) {
    const found = new Map();
    if (typeof entries !== 'object' || Array.isArray(entries)) this.wrong.push(name);
    else {
      for (const [pattern, value] of Object.entries(entries)) {
        const key = canonical(pattern);
        if (key === null || !values.includes(value) || found.has(key)) this.wrong.push(`${name}."${pattern}"`);
        else found.set(key, value);
      }
    }
    return found;
  }

  /** @returns {{level: string, by: string}} */
  decide(domain) {
    const patterns = [...matching(domain)];
    if (patterns.some((p) => this.deny.has(p))) return { level: 'none', by: 'deny' };
    if (this.allow && !patterns.some((p) => this.allow.has(p))) return { level: 'none', by: 'allow' };
    const rule = patterns.find((p) => this.levels.has(p));
    return rule ? { level: this.levels.get(rule), by: `levels."${rule}"` } : { level: this.default, by: 'default' };
  }

  level(domain) { return this.decide(domain).level; }

  pace(domain) {
    const rule = [...matching(domain)].map((p) => this.presence.get(p)).find(Boolean);
    return rule ?? (this.level(domain) === 'full' ? 'prompt' : 'tick');
  }
}

const same = (a, b) => Boolean(a && b && a.equals(b));

/**
 * Judge an identity that was proved. Gives the verdict, whether the link may be, and the pin to store (`null`: nothing new).
 * @param {{domain: string, shown: Buffer, published: Buffer[], statement: Buffer, pin: object | undefined, now: number}} o
 */
export function judge({ domain, shown, published, statement, pin, now }) {
  const isPublished = (one) => published.some((p) => same(p, one));
  if (!isPublished(shown)) return { verdict: 'not published', admitted: false, pin: null };
  const counts = (pinned, successor, lastSequence) => {
    try {
      const read = readStatement(statement);
      const good = proves(read, { domain, pinned, published: successor, now, lastSequence }) && read.notAfter >= now + COOL_OFF;
      return good ? { sequence: Number(read.sequence), ends: Number(read.notAfter) } : null;
    } catch {
      return null;
    }
  };
  const cleared = { next: null, ready: null, next_sequence: null, ends: null, seen: null };
  const begin = (next, by) => ({ next, ready: now + COOL_OFF, next_sequence: by.sequence, ends: by.ends, seen: now });
  const other = published.find((p) => !same(p, shown));
  if (!pin) {
    const by = other && counts(shown, other, 0);
    return { verdict: 'first contact', admitted: true, pin: { domain, fingerprint: shown, sequence: 0, quarantine: null, ...(by ? begin(other, by) : cleared) } };
  }
  const held = pin.ends !== null && pin.ends < now ? { ...pin, ...cleared } : pin; // a change ends with its statement
  const last = Math.max(held.sequence, held.next_sequence ?? 0);
  if (same(held.fingerprint, shown)) {
    const by = other && !same(held.next, other) && counts(shown, other, isPublished(held.next) ? last : held.sequence);
    if (by) return { verdict: 'announced', admitted: true, pin: { ...held, ...begin(other, by), quarantine: null } };
    if (held.next && !isPublished(held.next)) return { verdict: 'withdrawn', admitted: true, pin: { ...held, ...cleared, sequence: last, quarantine: null } };
    return { verdict: 'match', admitted: true, pin: held.quarantine || held !== pin ? { ...held, quarantine: null } : null };
  }
  if (same(held.next, shown)) {
    if (now < held.seen) return { verdict: 'cooling', admitted: false, pin: { ...held, ready: now + COOL_OFF, seen: now } };
    if (now < held.ready) return { verdict: 'cooling', admitted: false, pin: null };
    return { verdict: 'ready', admitted: true, pin: { domain, fingerprint: shown, sequence: held.next_sequence, quarantine: null, ...cleared } };
  }
  const by = counts(held.fingerprint, shown, held.next && isPublished(held.next) ? last : held.sequence);
  if (by) return { verdict: 'cooling', admitted: false, pin: { ...held, ...begin(shown, by) } };
  return { verdict: 'quarantined', admitted: false, pin: { ...held, quarantine: shown } };
}
