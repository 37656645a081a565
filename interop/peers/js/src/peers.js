// One peer: its queue, its link, and the attempts to have one (spec/session.md, spec/relay.md, spec/handshake.md).
//
// In: what waits for the peer, proved channels, events of its link. Out: envelopes on its stream; word of what was settled.
// Never: two links at once; an envelope sent while the gate `relay out` is closed; a dial while the gate `dial` is.

import { CODES, broken } from './codes.js';
import { dial, FEDERATION } from './channel.js';
import { random } from './crypto.js';
import { DIALLER } from './handshake.js';
import { Link, clock, handshake } from './link.js';
import { OutStream } from './session.js';
import { opens } from './trust.js';

const AT_ONCE = 10; // seconds within which two links count as dialled at once
const LOADED = 1024; // envelopes of a queue that are in memory
const AGE = 86400;
const PRESENCE = new Set(['PRESENCE_RESUME', 'PRESENCE_REQUEST', 'PRESENCE_SNAPSHOT', 'PRESENCE_DELTA', 'PRESENCE_WITHDRAW']);

const spread = () => 0.8 + Math.random() * 0.6;

export class Peer {
  link = null;
  #after = [0, 0, 0]; // how far the queue is in memory, by class
  #items = 0;
  #failures = 0;
  #timer = null;
  #dialling = false;
  #stopped = false;

  constructor(domain, home) {
    this.domain = domain;
    this.home = home;
    this.out = new OutStream(() => random(8));
  }

  // --- what waits ---

  /** Something may wait: load it, send it, or dial. */
  kick() {
    this.#refill();
    if (this.link) this.link.pump();
    else this.#plan();
  }

  #refill() {
    for (const urgency of [0, 1, 2]) {
      if (this.#items >= LOADED) return;
      const rows = this.home.store.queue(this.domain, urgency, this.#after[urgency], LOADED - this.#items);
      if (!rows.length) continue;
      this.#after[urgency] = rows.at(-1).seq;
      this.#items += rows.length;
      this.out.offer(rows.map((row) => ({ bytes: row.bytes, seq: row.seq, id: row.id, urgency })), urgency);
    }
  }

  /** What the sweep has deleted does not leave any more, if it has no number yet. */
  forget(seqs) {
    this.#items -= this.out.forget((item) => seqs.has(item.seq));
  }

  get #wanted() {
    const level = this.home.level(this.domain);
    return (!this.out.idle && opens('relay out', level)) || (this.home.presence.wants(this.domain) && opens('hear', level));
  }

  // --- dialling ---

  get #mayDial() { return opens('dial', this.home.level(this.domain)); }

  #plan() {
    if (this.#stopped || this.#dialling || this.#timer || this.link || !this.#wanted || !this.#mayDial) return;
    const pause = this.#failures ? Math.min(300, 0.5 * 2 ** (this.#failures - 1)) * spread() : 0;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.dial();
    }, pause * 1000);
  }

  /** Try the peer's targets in their order. */
  async dial() {
    if (this.#dialling || this.#stopped || !this.#mayDial) return;
    this.#dialling = true;
    this.#failures += 1;
    let away = 0;
    try {
      const records = this.home.records(this.domain);
      for (const target of inOrder(records?.targets ?? [])) {
        if (!this.#mayDial) break; // the policy may have changed meanwhile
        const error = await this.#attempt(target, records);
        if (!error) break;
        this.home.log('attempt', { peer: this.domain, code: error.code, reason: error.message });
        if (error.kind === 'Refused' && error.code === 'BUSY') away = error.retryAfter;
        if (error.code === 'POLICY' || (error.kind === 'Refused' && error.code !== 'WRONG_NAME')) break;
      }
    } finally {
      this.#dialling = false;
    }
    if (this.link) return;
    if (away > 0) this.#stayAway(away);
    else this.#plan();
  }

  #stayAway(seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#plan();
    }, Math.min(300, Math.max(0.4, seconds * spread())) * 1000);
  }

  async #attempt(target, records) {
    const { home, domain } = this;
    try {
      const channel = await dial({ profile: FEDERATION, credentials: home.credentials, address: target.address, port: target.port, host: target.host, keys: target.tls });
      const peer = await handshake(channel, {
        role: DIALLER, own: home.own, wanted: domain, expected: records.identities, identity: home.identity,
        judge: { proof: (shown) => home.establish(shown, true) },
      });
      this.adopt(channel, peer, true);
      return null;
    } catch (error) {
      return error;
    }
  }

  // --- the link ---

  /** A link is proved. Keep it, unless the one that there is counts for both. */
  adopt(channel, peer, dialled) {
    if (this.#stopped) return channel.close(1000);
    const old = this.link;
    if (old && old.dialled !== dialled && clock() - old.established < AT_ONCE) {
      const lesserDials = this.home.own < this.domain;
      if (old.dialled === lesserDials) return channel.close(1000);
    }
    this.link = null;
    old?.fail(broken('REPLACED', 'another link has taken over'));
    clearTimeout(this.#timer);
    this.#timer = null;
    const link = new Link({ channel, owner: this, out: this.out, beside: PRESENCE, listener: !dialled, name: this.domain });
    link.dialled = dialled;
    link.session.mayBatch = () => opens('relay out', this.home.level(this.domain));
    this.link = link;
    if (dialled) setTimeout(() => { if (this.link === link) this.dial(); }, AGE * (0.8 + 0.4 * Math.random()) * 1000).unref();
    this.home.log('established', { peer: this.domain, dialled });
    this.#refill();
    link.pump();
    this.home.presence.linked(this.domain);
    return undefined;
  }

  event(link, event) {
    const { home, domain } = this;
    if (event.opened) {
      const { cursor, refusals } = home.store.cursor(domain, event.opened);
      link.session.durable(event.opened, cursor, refusals);
    } else if (event.received) home.take(this, link, event.received);
    else if (event.settled) this.#settled(event.settled);
    else if (event.beside) home.presence.heard(domain, event.beside);
    else if (event.closing !== undefined) this.#told(event);
  }

  #told({ closing, retryAfter }) {
    if (closing === CODES.BUSY && retryAfter > 0) this.busy = Number(retryAfter);
  }

  #settled({ done, refused, later }) {
    const { home } = this;
    home.store.dequeue(done.map((item) => item.seq));
    this.#items -= done.length;
    for (const [item, code, reason] of refused) home.receipt(item.seq, item.id, code, reason);
    for (const item of done) home.forgetOrigin(item.seq);
    if (done.length) this.#failures = 0;
    if (later.length) {
      setTimeout(() => {
        for (const urgency of [0, 1, 2]) this.out.offer(later.filter((item) => item.urgency === urgency), urgency, true);
        this.kick();
      }, 1000).unref();
    }
    this.#refill();
  }

  ended(link, how, error) {
    this.home.log('ended', { peer: this.domain, how });
    if (this.link !== link) return;
    this.link = null;
    this.home.presence.unlinked(this.domain);
    const away = this.busy ?? (error?.code === 'BUSY' ? error.retryAfter : 0);
    this.busy = undefined;
    this.#failures = Math.max(1, this.#failures);
    if (away > 0) this.#stayAway(away);
    else this.#plan();
  }

  wrong(error) { this.home.log('error', { peer: this.domain, reason: String(error.stack) }); }

  /** Another policy, or another map: a link may have to end, or may be wanted now. */
  judgeAnew() {
    if (this.link && !opens('establish', this.home.level(this.domain))) this.link.close('POLICY');
    this.kick();
  }

  stop(code) {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.link?.close(code);
  }
}

/** Targets by priority, and by lot within one, heavier ones more often first (RFC 2782). */
function inOrder(targets) {
  const lots = targets.map((target) => [target, Math.random() ** (1 / Math.max(target.weight, 0.01))]);
  return lots.sort(([a, x], [b, y]) => a.priority - b.priority || y - x).map(([target]) => target);
}
