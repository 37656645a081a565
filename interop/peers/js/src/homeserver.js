// A homeserver: what the modules are to each other.
//
// In: a site. Out: links with peers and edges; what is stored. Never: a rule of the protocol that belongs to a module of its own.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { EDGE, FEDERATION, Listener } from './channel.js';
import { Claims } from './claims.js';
import { CODES, broken } from './codes.js';
import { Edge } from './edges.js';
import { Mailboxes } from './edge.js';
import { LISTENER, PROBE } from './handshake.js';
import { clock, handshake } from './link.js';
import { Peer } from './peers.js';
import { Presence } from './presence.js';
import { Relay } from './relay.js';
import { Store } from './store.js';
import { judge, opens } from './trust.js';

const SWEEP = 60;
const PATIENCE = 12;
const RECEIPTS = 65536;

export class Homeserver {
  peers = new Map();
  edges = new Map();
  #origins = new Map(); // of queued envelopes: the edge by which they came
  #timers = [];

  constructor(site, { log = () => {}, now = () => Math.floor(Date.now() / 1000) } = {}) {
    Object.assign(this, site, { log, now });
    mkdirSync(this.data, { recursive: true });
    this.store = new Store(join(this.data, 'homeserver.sqlite'));
    this.relay = new Relay({ own: this.own, store: this.store, level: (domain) => this.level(domain) });
    this.mailboxes = new Mailboxes({ own: this.own, store: this.store, now });
    this.claims = new Claims();
    this.presence = new Presence(this);
  }

  async start() {
    const listener = (profile, onChannel) => new Listener({ profile, credentials: this.credentials, onChannel });
    this.federationDoor = listener(FEDERATION, (channel) => this.#welcome(channel).catch((error) => this.#refused('peer', error)));
    this.edgeDoor = listener(EDGE, (channel) => this.#admit(channel).catch((error) => this.#refused('edge', error)));
    this.ports = {
      federation: await this.federationDoor.listen(this.doors.federation.address, this.doors.federation.port),
      edges: await this.edgeDoor.listen(this.doors.edges.address, this.doors.edges.port),
    };
    this.#timers.push(setInterval(() => this.#sweep(), SWEEP * 1000));
    this.presence.start();
    for (const domain of this.store.queuedDomains()) this.peer(domain).kick();
  }

  #refused(who, error) { this.log('refused', { who, code: error.code, reason: error.message, ...(error.code ? {} : { stack: error.stack }) }); }

  level(domain) { return this.policy.level(domain); }

  records(domain) { return this.recordsOf.get(domain); }

  peer(domain) {
    if (!this.peers.has(domain)) this.peers.set(domain, new Peer(domain, this));
    return this.peers.get(domain);
  }

  // --- peers ---

  /** Somebody calls and claims to be a peer. */
  async #welcome(channel) {
    const address = channel.remote;
    const key = channel.facts.peerSpki.toString('hex');
    let made;
    const claim = ({ domain }) => {
      if (!opens('accept', this.level(domain))) throw broken('POLICY', 'no links with this domain');
      made = this.claims.claim(domain, address, key, clock());
      const records = this.records(domain);
      this.claims.over(made);
      if (!records) throw broken('DISCOVERY', 'the domain cannot be discovered');
      if (!records.targets.some((t) => t.tls.some((one) => one.equals(channel.facts.peerSpki)))) throw broken('KEY_MISMATCH', 'the TLS key is not published');
      return records.identities;
    };
    const proof = (shown) => {
      this.establish(shown, false);
      this.claims.proof(made, clock());
    };
    const peer = await handshake(channel, { role: LISTENER, own: this.own, identity: this.identity, judge: { claim, proof } });
    if (peer.extensions.has(PROBE)) channel.close(1000);
    else this.peer(peer.domain).adopt(channel, peer, false);
  }

  /** An identity is proved: whether there may be a link, with what is remembered stored before. */
  establish({ domain, fingerprint, statement }) {
    if (!opens('establish', this.level(domain))) throw broken('POLICY', 'no links with this domain');
    const published = this.records(domain)?.identities ?? [];
    const pin = this.store.get('SELECT * FROM pin WHERE domain = ?', domain);
    const judged = judge({ domain, shown: fingerprint, published, statement, pin, now: this.now() });
    if (judged.pin) {
      const p = judged.pin;
      this.store.run('INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
        domain, p.fingerprint, p.sequence, p.next, p.ready, p.next_sequence, p.ends, p.seen, p.quarantine);
    }
    if (!judged.admitted) throw broken('IDENTITY_MISMATCH', `the identity is ${judged.verdict}`);
  }

  /** A batch of a peer: stored with its cursor, or the link ends. */
  take(peer, link, { stream, first, envelopes }) {
    const cursor = first + envelopes.length - 1;
    let refusals = [];
    let taken;
    try {
      taken = this.relay.intake(peer.domain, envelopes, this.now(), (refused) => {
        refusals = refused.map(([index, code, reason]) => [first + index, code, reason]);
        this.store.setCursor(peer.domain, stream, cursor, refusals);
      });
    } catch (error) {
      this.log('store', { reason: error.message });
      link.fail(broken('BUSY', 'nothing can be stored', 5));
      return;
    }
    link.session.durable(stream, cursor, refusals);
    for (const mailbox of taken.mailboxes) this.mailboxes.deliver(mailbox);
  }

  // --- edges ---

  async #admit(channel) {
    const enrolled = (name) => {
      const print = this.enrolled.get(name);
      if (!print) throw broken('POLICY', 'not enrolled');
      return [print];
    };
    const proof = ({ domain, fingerprint }) => {
      if (!enrolled(domain)[0].equals(fingerprint)) throw broken('IDENTITY_MISMATCH', 'another identity is enrolled');
    };
    const judgeEdge = { claim: ({ domain }) => enrolled(domain), proof };
    const shown = await handshake(channel, { role: LISTENER, own: this.own, identity: this.identity, judge: judgeEdge });
    if (shown.extensions.has(PROBE)) return channel.close(1000);
    const edge = this.edges.get(shown.domain) ?? new Edge(shown.domain, this);
    this.edges.set(shown.domain, edge);
    return edge.adopt(channel, shown);
  }

  /** What an edge hands over: refused for want of a disk, or settled. */
  submit(edge, envelopes) {
    try {
      const taken = this.relay.intake(null, envelopes, this.now());
      for (const { domain, seq } of taken.queued) {
        this.#origins.set(seq, edge.name);
        if (this.#origins.size > RECEIPTS) this.#origins.delete(this.#origins.keys().next().value);
        this.peer(domain);
      }
      for (const domain of new Set(taken.queued.map((one) => one.domain))) this.peer(domain).kick();
      for (const mailbox of taken.mailboxes) this.mailboxes.deliver(mailbox);
      return taken.refusals;
    } catch (error) {
      this.log('store', { reason: error.message });
      return envelopes.map((_, index) => [index, CODES.OVERLOADED, 'nothing can be stored']);
    }
  }

  forgetOrigin(seq) { this.#origins.delete(seq); }

  /** An envelope that was accepted is refused after all: the edge by which it came is told, if it is there. */
  receipt(seq, id, code, reason) {
    this.edges.get(this.#origins.get(seq))?.link?.say('RECEIPT', { outcomes: [[id, code, reason]] });
  }

  // --- time, and changes ---

  #sweep() {
    const gone = this.store.sweep(this.now());
    const seqs = new Set(gone.map((row) => row.seq));
    for (const domain of new Set(gone.map((row) => row.domain))) this.peers.get(domain)?.forget(seqs);
    for (const { seq, id } of gone) {
      this.receipt(seq, id, CODES.EXPIRED, 'expired');
      this.forgetOrigin(seq);
    }
    for (const peer of this.peers.values()) peer.kick();
  }

  /** Another site counts from now on: policy, map, enrolled edges, certificate. */
  reload(site) {
    Object.assign(this, { policy: site.policy, recordsOf: site.recordsOf, enrolled: site.enrolled, identity: site.identity, credentials: site.credentials });
    this.federationDoor.renew(this.credentials);
    this.edgeDoor.renew(this.credentials);
    for (const edge of this.edges.values()) edge.judgeAnew();
    for (const peer of this.peers.values()) peer.judgeAnew();
    this.presence.judgeAnew();
  }

  /** Close every link in order, and end. */
  async stop() {
    this.#timers.forEach(clearInterval);
    this.presence.stop();
    const all = [...this.peers.values(), ...this.edges.values()];
    for (const one of all) one.stop('SHUTTING_DOWN');
    const until = clock() + PATIENCE;
    while (all.some((one) => one.link) && clock() < until) await new Promise((resolve) => { setTimeout(resolve, 20); });
    this.federationDoor.close();
    this.edgeDoor.close();
    this.store.close();
  }
}
