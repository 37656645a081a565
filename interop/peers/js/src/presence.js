// Presence at a homeserver: whose tags go into which filter, who watches which domain (spec/presence.md, Device, edge and homeserver).
//
// In: announcements and watches of edges, presence messages of peers, word of links, the policy, time. Out: the same for the others.
// Never: a filter, its key or a tag in a log; a tag for a peer that the gate `show` does not let see it.

import { CODES } from './codes.js';
import { clock } from './link.js';
import { Showing } from './showing.js';
import { opens } from './trust.js';
import { EPOCH, Viewing, piecesOf } from './viewing.js';
import { encodeMessage } from './wire.js';

const OVER = 120;
const AHEAD = 300;
const EDGE_TAGS = 262144;
const CONNECTIONS = 900000;
const HOLD = 5; // seconds for which what came through a lost edge holds
const LINGER = 10; // seconds for which a domain is asked for after the last watcher has gone
const SPREAD = 60; // seconds within which an epoch begins for all peers
const QUEUED = 64; // messages that wait on a link before more are made

const crowded = (link) => link && (link.session.says.length > QUEUED || link.channel.crowded);

export class Presence {
  #connections = new Map(); // `edge generation number`: Map of epoch: [[scope, tag in hex]]
  #generations = new Map(); // of each edge: how often its link was lost
  #domains = new Map();
  #timer = null;

  constructor(home) { this.home = home; }

  start() {
    this.#of(this.home.own).showing.link();
    this.#timer = setInterval(() => this.#tick(), 1000);
  }

  stop() {
    clearInterval(this.#timer);
    for (const d of this.#domains.values()) clearTimeout(d.timer);
  }

  #of(domain) {
    if (!this.#domains.has(domain)) {
      const own = domain === this.home.own;
      const d = {
        domain, own, level: own ? 'full' : this.home.level(domain), showing: new Showing(own ? 'prompt' : this.home.policy.pace(domain)),
        viewing: new Viewing(), watchers: new Set(), wantedUntil: 0, linked: own, counts: new Map(), epoch: -1, delay: Math.random() * SPREAD,
        timer: null, busy: false,
      };
      this.#domains.set(domain, d);
      this.#redraw(d, this.#epochNow);
    }
    return this.#domains.get(domain);
  }

  get #seconds() { return Date.now() / 1000; }
  get #epochNow() { return Math.floor(this.#seconds / EPOCH); }

  // --- who is shown to whom ---

  /** The tag (hex) under which a connection's user is shown, or undefined. */
  #pick(d, pairs) {
    for (const scope of [d.domain, '*']) {
      const found = pairs?.find(([named]) => named === scope);
      if (found && opens('show', d.level, d.domain, [scope])) return found[1];
    }
    return undefined;
  }

  #redraw(d, epoch) {
    d.epoch = epoch;
    d.counts = new Map();
    if (d.level === 'none') return d.showing.withdraw();
    for (const epochs of this.#connections.values()) {
      const tag = this.#pick(d, epochs.get(epoch));
      if (tag) d.counts.set(tag, (d.counts.get(tag) ?? 0) + 1);
    }
    return d.showing.show(epoch, d.counts.keys());
  }

  /** A connection announces other tags for an epoch (or none) than before. */
  #replace(name, epoch, pairs) {
    const epochs = this.#connections.get(name) ?? new Map();
    const former = epochs.get(epoch);
    if (pairs) epochs.set(epoch, pairs);
    else epochs.delete(epoch);
    if (epochs.size) this.#connections.set(name, epochs);
    else this.#connections.delete(name);
    for (const d of this.#domains.values()) {
      if (d.epoch !== epoch) continue;
      const [gone, come] = [this.#pick(d, former), this.#pick(d, pairs)];
      if (gone === come) continue;
      if (come) this.#count(d, come, 1);
      if (gone) this.#count(d, gone, -1);
      this.pump(d);
    }
  }

  #count(d, tag, by) {
    const count = (d.counts.get(tag) ?? 0) + by;
    if (count > 0) d.counts.set(tag, count);
    else d.counts.delete(tag);
    if (by > 0 && count === 1) d.showing.online(tag);
    if (count === 0) d.showing.offline(tag);
  }

  // --- edges ---

  fromEdge(name, message) { this[`on${message.type}`](name, message); }

  #connection(edge, number) { return `${edge} ${this.#generations.get(edge) ?? 0} ${number}`; }

  onANNOUNCE(edge, { number, epoch, tags }) {
    const now = this.#seconds;
    if ((epoch + 1) * EPOCH + OVER < now || epoch > Math.floor((now + AHEAD) / EPOCH) + 1) return;
    const name = this.#connection(edge, number);
    if (!this.#connections.has(name) && this.#connections.size >= CONNECTIONS) return;
    let held = tags.length;
    for (const [other, epochs] of this.#connections) {
      if (other.startsWith(`${edge} `)) for (const [e, pairs] of epochs) if (other !== name || e !== epoch) held += pairs.length;
    }
    if (held <= EDGE_TAGS) this.#replace(name, epoch, tags.map(([scope, tag]) => [scope, tag.toString('hex')]));
  }

  onRETRACT(edge, { number }) { this.#retract(this.#connection(edge, number)); }

  #retract(name) { for (const epoch of [...(this.#connections.get(name)?.keys() ?? [])]) this.#replace(name, epoch, null); }

  onWATCH(edge, { domain }) {
    const d = this.#of(domain);
    const refuse = (code, reason) => this.home.edges.get(edge)?.link?.say('UNWATCH', { domain, code: CODES[code], reason });
    if (!opens('hear', d.level)) return refuse('POLICY', 'nothing is asked of this domain');
    if (!d.own && !d.linked && !this.home.records(domain)) return refuse('DISCOVERY', 'the domain cannot be discovered');
    d.watchers.add(edge);
    if (d.viewing.filter) this.#hand(d, [edge], piecesOf(d.viewing.filter));
    else if (d.linked && d.viewing.state === 'AWAY') d.viewing.link();
    this.pump(d);
    if (!d.linked) this.home.peer(domain).kick();
    return undefined;
  }

  onUNWATCH(edge, { domain }) { this.#unwatch(this.#domains.get(domain), edge); }

  #unwatch(d, edge) {
    if (d?.watchers.delete(edge) && d.watchers.size === 0) d.wantedUntil = clock() + LINGER;
  }

  /** The link of an edge is lost: what it watched ends, what it announced holds for a moment. */
  edgeLost(edge) {
    for (const d of this.#domains.values()) this.#unwatch(d, edge);
    const prefix = this.#connection(edge, '');
    this.#generations.set(edge, (this.#generations.get(edge) ?? 0) + 1);
    setTimeout(() => {
      for (const name of [...this.#connections.keys()]) if (name.startsWith(prefix)) this.#retract(name);
    }, HOLD * 1000).unref();
  }

  /** Whether a link is wanted for the sake of a domain's presence. */
  wants(domain) {
    const d = this.#domains.get(domain);
    return Boolean(d && (d.watchers.size || clock() < d.wantedUntil));
  }

  // --- peers ---

  linked(domain) {
    const d = this.#of(domain);
    this.unlinked(domain);
    d.linked = true;
    d.showing.link();
    if (this.wants(domain)) d.viewing.link();
    this.pump(d);
  }

  unlinked(domain) {
    const d = this.#of(domain);
    d.linked = false;
    d.showing.lose();
    d.viewing.lose();
  }

  /** A presence message of a peer; throws what ends the link. */
  heard(domain, message) {
    const d = this.#of(domain);
    if (message.type === 'PRESENCE_RESUME' || message.type === 'PRESENCE_REQUEST') d.showing.receive(message, clock());
    else if (opens('hear', d.level)) d.viewing.receive(message, this.#seconds);
    this.pump(d);
  }

  // --- what leaves ---

  /** Let leave what may leave of one domain, and hand on what has changed. */
  pump(d) {
    d.again = true;
    if (d.busy) return;
    d.busy = true;
    try {
      while (d.again) {
        d.again = false;
        this.#leave(d);
      }
    } finally {
      d.busy = false;
    }
    const link = this.#link(d);
    const wake = d.showing.wakeAt(clock());
    clearTimeout(d.timer);
    if (wake < Infinity) d.timer = setTimeout(() => this.pump(d), Math.max(crowded(link) ? 50 : 1, Math.min(3600, wake - clock()) * 1000)).unref();
  }

  #link(d) { return d.own ? null : this.home.peers.get(d.domain)?.link; }

  #leave(d) {
    const link = this.#link(d);
    for (let message = d.viewing.next(); message; message = d.viewing.next()) {
      if (d.own) d.showing.receive({ type: message[0], ...message[1] }, clock());
      else link?.say(...message);
    }
    while (!crowded(link)) {
      const message = d.showing.next(clock());
      if (!message) break;
      if (d.own) d.viewing.receive({ type: message[0], ...message[1] }, this.#seconds);
      else link?.say(...message);
    }
    for (const change of d.viewing.changed.splice(0)) {
      if (change.filter) this.#hand(d, d.watchers, piecesOf(d.viewing.filter));
      else this.#hand(d, d.watchers, [change.step ? ['PRESENCE_DELTA', change.step] : ['PRESENCE_WITHDRAW', {}]]);
    }
  }

  #hand(d, edges, messages) {
    const encoded = [...messages].map(([type, fields]) => encodeMessage(type, fields));
    for (const edge of edges) for (const message of encoded) this.home.edges.get(edge)?.link?.say('SHOWN', { domain: d.domain, message });
  }

  // --- time, and changes ---

  #tick() {
    const now = this.#seconds;
    const epoch = this.#epochNow;
    for (const d of this.#domains.values()) {
      d.viewing.tick(now);
      if (epoch > d.epoch && now - epoch * EPOCH >= d.delay) {
        d.delay = Math.random() * SPREAD;
        this.#redraw(d, epoch);
      }
      this.pump(d);
    }
    for (const [name, epochs] of this.#connections) {
      for (const e of [...epochs.keys()]) if ((e + 1) * EPOCH + OVER < now) epochs.delete(e);
      if (!epochs.size) this.#connections.delete(name);
    }
  }

  /** Another policy counts: another filter, or none. */
  judgeAnew() {
    for (const d of this.#domains.values()) {
      if (d.own) continue;
      const [level, pace] = [this.home.level(d.domain), this.home.policy.pace(d.domain)];
      d.showing.pace = pace;
      if (level !== d.level) {
        d.level = level;
        this.#redraw(d, d.epoch);
        if (!opens('hear', level)) {
          this.#hand(d, d.watchers, [['PRESENCE_WITHDRAW', {}]]);
          for (const edge of d.watchers) this.home.edges.get(edge)?.link?.say('UNWATCH', { domain: d.domain, code: CODES.POLICY });
          d.watchers.clear();
          d.viewing.forget();
        }
      }
      this.pump(d);
    }
  }
}
