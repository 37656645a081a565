// What a peer shows: one filter, from its pieces and steps, without I/O (spec/presence.md, Viewing).
//
// In: messages of the peer, word of the link, unix time. Out: questions from `next`; the filter; what has changed, in `changed`.
// Never: half of a filter, or half of a step, in the filter that is held.

import { badMessage, broken } from './codes.js';
import { CLASSES, PIECE, checkFilter, decodeChanges, filterId, overfull, ones } from './filter.js';

export const EPOCH = 1800;
const LATE = 420;
const EARLY = 300;
const KEPT = 240;
const FILTERS = 16;

export class Viewing {
  state = 'AWAY';
  filter = null; // {id, key, epoch, class, sequence, bits, ones}
  changed = []; // for whoever hands it on: {filter: true}, {step: message}, {gone: true}
  #incoming = null;
  #questions = [];
  #overtaken = false; // whether something may still come of a filter that was asked for before
  #began = { epoch: -1, filters: 0 };

  /** There is a link, and this end wants to be shown something. */
  link() {
    if (this.filter) {
      this.#questions.push(['PRESENCE_RESUME', { filter: this.filter.id, sequence: this.filter.sequence }]);
      this.state = 'FOLLOWING';
    } else this.#ask(false);
  }

  lose() {
    this.state = 'AWAY';
    this.#incoming = null;
    this.#questions = [];
  }

  ask() { if (this.state !== 'AWAY') this.#ask(true); }

  #ask(again) {
    this.#overtaken = again && (this.state === 'RECEIVING' || (this.state === 'ASKING' && this.#overtaken));
    this.#questions.push(['PRESENCE_REQUEST', {}]);
    this.state = 'ASKING';
    this.#incoming = null;
  }

  next() { return this.#questions.shift() ?? null; }

  /** Time passes: a filter whose time is over is forgotten. */
  tick(now) {
    if (!this.filter || now < (this.filter.epoch + 1) * EPOCH + KEPT) return;
    this.forget();
    if (this.state === 'FOLLOWING') this.#ask(true);
  }

  /** Nothing that was shown counts any more. */
  forget() {
    if (this.filter) this.changed.push({ gone: true });
    this.filter = null;
  }

  receive(message, now) {
    this.tick(now);
    try {
      const handler = { PRESENCE_SNAPSHOT: this.#piece, PRESENCE_DELTA: this.#step, PRESENCE_WITHDRAW: this.#withdrawn }[message.type];
      if (!handler || this.state === 'AWAY') throw broken('UNEXPECTED', `${message.type} was not asked for`);
      handler.call(this, message, now);
    } catch (error) {
      this.#incoming = null;
      throw error;
    }
  }

  #withdrawn() {
    this.#incoming = null;
    this.forget();
    this.state = 'ASKING';
    this.#overtaken = false;
  }

  #piece(piece, now) {
    if (piece.offset !== 0) {
      if (this.state === 'ASKING' && this.#overtaken) return;
      const { first, got } = this.#incoming ?? {};
      const fits = first && first.key.equals(piece.key) && ['epoch', 'class', 'sequence'].every((f) => first[f] === piece[f]) && piece.offset === got;
      if (!fits) throw broken('OUT_OF_STEP', 'a piece out of order');
    } else this.#begin(piece, now);
    const incoming = this.#incoming;
    const size = CLASSES[piece.class].bytes;
    if (piece.bits.length !== Math.min(PIECE, size - incoming.got)) throw badMessage('a piece of another length', 'BAD_FILTER');
    incoming.pieces.push(piece.bits);
    incoming.got += piece.bits.length;
    this.state = 'RECEIVING';
    if (incoming.got === size) this.#appear(incoming);
  }

  #begin(piece, now) {
    if (CLASSES[piece.class] === undefined) throw badMessage('an unknown class', 'BAD_FILTER');
    const [least, most] = [Math.floor((now - LATE) / EPOCH), Math.floor((now + EARLY) / EPOCH)];
    if (piece.epoch < least || piece.epoch > most || piece.epoch < (this.filter?.epoch ?? 0)) throw broken('WRONG_EPOCH', 'a filter of another epoch');
    if (this.filter?.key.equals(piece.key) && piece.sequence < this.filter.sequence) throw broken('OUT_OF_STEP', 'a filter as it was before');
    const epoch = Math.floor(now / EPOCH);
    if (this.#began.epoch !== epoch) this.#began = { epoch, filters: 0 };
    this.#began.filters += 1;
    if (this.#began.filters > FILTERS) throw broken('BUSY', 'too many filters');
    this.#incoming = { first: piece, pieces: [], got: 0 };
  }

  #appear({ first, pieces }) {
    const bits = Buffer.concat(pieces);
    checkFilter(bits, first.class);
    this.filter = {
      id: filterId(first.key), key: first.key, epoch: first.epoch, class: first.class, sequence: first.sequence, bits, ones: ones(bits),
    };
    this.#incoming = null;
    this.state = 'FOLLOWING';
    this.changed.push({ filter: true });
  }

  #step(step) {
    if (this.state === 'RECEIVING') throw broken('UNEXPECTED', 'a step between the pieces of a filter');
    if (this.state === 'ASKING') return;
    const { filter } = this;
    if (!filter || !filter.id.equals(step.filter) || BigInt(step.sequence) !== BigInt(filter.sequence) + 1n) throw broken('OUT_OF_STEP', 'not the next step');
    const positions = decodeChanges(step.changes, filter.class);
    const set = positions.reduce((sum, p) => sum + (filter.bits[p >> 3] & (1 << (p & 7)) ? -1 : 1), filter.ones);
    if (overfull(set, filter.class)) throw badMessage('too many bits are set', 'BAD_FILTER');
    for (const p of positions) filter.bits[p >> 3] ^= 1 << (p & 7);
    filter.ones = set;
    filter.sequence = step.sequence;
    this.changed.push({ step });
  }
}

/** The messages that carry a filter: PRESENCE_SNAPSHOT, in pieces. */
export function* piecesOf({ epoch, key, class: n, sequence, bits }) {
  for (let offset = 0; offset < bits.length; offset += PIECE) {
    yield ['PRESENCE_SNAPSHOT', { epoch, key, class: n, sequence, offset, bits: bits.subarray(offset, offset + PIECE) }];
  }
}
