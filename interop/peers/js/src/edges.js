// One edge: its link, its stream of submissions, and what passes beside it (spec/edge.md).
//
// In: proved channels, events of its link. Out: submissions, claims, presence, to who deals with them.
// Never: a cursor of an edge on the disk; two links of one edge.

import { broken } from './codes.js';
import { random } from './crypto.js';
import { Link } from './link.js';
import { OutStream } from './session.js';

export const TOLD = new Set(['CLAIM', 'PROOF', 'RELEASE', 'ACKNOWLEDGE', 'ANNOUNCE', 'RETRACT', 'WATCH', 'UNWATCH']);
export const SAID = new Set(['CHALLENGE', 'CLAIMED', 'NOT_CLAIMED', 'DELIVER', 'RECEIPT', 'SHOWN', 'UNWATCH']);
const STREAMS = 8;
const REFUSALS = 1024;

export class Edge {
  link = null;
  #cursors = new Map(); // by stream (hex): {cursor, refusals}

  constructor(name, home) {
    this.name = name;
    this.home = home;
  }

  adopt(channel, shown) {
    const old = this.link;
    this.link = null;
    if (old) {
      this.#lost(old);
      old.fail(broken('REPLACED', 'another link has taken over'));
    }
    const link = new Link({ channel, owner: this, out: new OutStream(() => random(8)), beside: TOLD, sent: SAID, listener: true, name: this.name });
    link.fingerprint = shown.fingerprint;
    this.link = link;
    this.home.log('edge', { name: this.name });
    link.pump();
  }

  #lost(link) {
    this.home.mailboxes.lost(link);
    this.home.presence.edgeLost(this.name);
  }

  event(link, event) {
    if (event.opened) {
      const { cursor, refusals } = this.#cursors.get(event.opened.toString('hex')) ?? { cursor: 0, refusals: [] };
      link.session.durable(event.opened, cursor, refusals);
    } else if (event.received) this.#take(link, event.received);
    else if (event.beside) this.#beside(link, event.beside);
  }

  #take(link, { stream, first, envelopes }) {
    const name = stream.toString('hex');
    const cursor = first + envelopes.length - 1;
    const refusals = this.home.submit(this, envelopes).map(([index, code, reason]) => [first + index, code, reason]);
    const known = this.#cursors.get(name)?.refusals ?? [];
    this.#cursors.delete(name);
    this.#cursors.set(name, { cursor, refusals: [...known, ...refusals].filter(([number]) => number > cursor - REFUSALS) });
    if (this.#cursors.size > STREAMS) this.#cursors.delete(this.#cursors.keys().next().value);
    link.session.durable(stream, cursor, refusals);
  }

  #beside(link, message) {
    const { mailboxes, presence } = this.home;
    const handler = mailboxes[`on${message.type}`];
    if (handler) handler.call(mailboxes, link, message);
    else presence.fromEdge(this.name, message);
  }

  ended(link, how) {
    this.home.log('edge ended', { name: this.name, how });
    if (this.link !== link) return;
    this.link = null;
    this.#lost(link);
  }

  wrong(error) { this.home.log('error', { edge: this.name, reason: String(error.stack) }); }

  /** Another list of enrolled edges: this one may not be among them any more. */
  judgeAnew() {
    if (this.link && !this.home.enrolled.get(this.name)?.equals(this.link.fingerprint)) this.link.fail(broken('POLICY', 'not enrolled'));
  }

  stop(code) { this.link?.close(code); }
}
