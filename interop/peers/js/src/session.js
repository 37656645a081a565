// Streams of envelopes on one link, both ends alike, without I/O (spec/session.md).
//
// In: messages, envelopes to send, word of what is durable, time (seconds of a clock that is not set). Out: `events`, and one message after the
// other from `next`. An envelope to send is any object with `bytes`.
// Never: a look into an envelope; an acknowledgement of what the owner has not called durable; two envelopes under one number of a stream.

import { CODES, NAMES, broken } from './codes.js';
import { refused } from './handshake.js';
import { MAX_ENVELOPE, decodeMessage, encodeMessage } from './wire.js';

export const WINDOW = { envelopes: 1024, bytes: 1048576 };
const BATCH = { envelopes: 256, bytes: 524288 };
const SILENCE = 20;
const PATIENCE = 10;
const CLOSING = 10;
const PACE = 0.005;

/** What this end sends, over as many links as it takes. */
export class OutStream {
  /** @param {() => Buffer} newId draws the id of a stream */
  constructor(newId) {
    this.newId = newId;
    this.id = newId();
    this.waiting = [[], [], []]; // by class
    this.#renumber([]);
  }

  #renumber(items) {
    this.unsettled = []; // what has a number, in order: cursor + 1, cursor + 2, …
    this.cursor = 0;
    this.again = items; // what had a number on a stream that was given up
  }

  get last() { return this.cursor + this.unsettled.length; }

  offer(items, urgency, first = false) {
    if (first) this.waiting[urgency].unshift(...items);
    else this.waiting[urgency].push(...items);
  }

  /** What `chosen` says of is not to be sent, unless it has a number. Gives how many there were. */
  forget(chosen) {
    const before = this.waiting.flat().length;
    this.waiting = this.waiting.map((list) => list.filter((item) => !chosen(item)));
    return before - this.waiting.flat().length;
  }

  get idle() { return this.unsettled.length + this.again.length + this.waiting.flat().length === 0; }

  /** The next envelope without a number; `take` gives it one. */
  get head() { return this.again[0] ?? this.waiting.find((list) => list.length)?.[0]; }

  take() {
    const item = this.again.length ? this.again.shift() : this.waiting.find((list) => list.length).shift();
    this.unsettled.push(item);
    return item;
  }

  settle(cursor) {
    const done = this.unsettled.splice(0, cursor - this.cursor);
    this.cursor = cursor;
    return done;
  }

  /** Put everything unsettled on a fresh stream. */
  fresh() {
    this.id = this.newId();
    this.#renumber([...this.unsettled, ...this.again]);
  }
}

/** One end of one link. */
export class Session {
  /**
   * @param {object} o `out` (OutStream), `now`; `beside`: types of messages that may come beside the streams, `sent`: those that may leave (else the same);
   *   `listener`: whether a late REFUSE is allowed
   */
  constructor({ out, now, beside = new Set(), sent = beside, listener = false }) {
    Object.assign(this, { out, beside, sent, listener });
    this.events = [];
    this.sending = 'IDLE';
    this.receiving = 'SILENT';
    this.formerStreams = new Set();
    this.onLink = 0; // up to which number the stream has gone out on this link
    this.credit = null; // {envelopes, bytes} that the other end grants
    this.granted = { ...WINDOW };
    this.largest = { envelopes: 0, bytes: 0 };
    this.their = null; // {id, asked: its OPEN has no answer yet, due, durable, acked, batches: [{last, bytes}] not wholly acknowledged, refusals}
    this.ackNow = false;
    this.lastAck = -Infinity;
    this.says = []; // messages beside the streams
    this.pong = null;
    this.heard = now;
    this.pings = 0;
    this.pingAt = null;
    this.farewell = null; // our CLOSE that has not left
    this.closeBegan = null;
    this.ended = null;
    this.mayBatch = () => true;
  }

  // --- what the owner says ---

  say(type, fields) {
    if (!this.sent.has(type)) throw new Error(`${type} does not belong on this link`);
    this.says.push([type, fields]);
  }

  grant(envelopes, bytes) {
    const granted = { envelopes: Math.min(envelopes, WINDOW.envelopes), bytes: Math.min(bytes, WINDOW.bytes) };
    if (granted.envelopes === this.granted.envelopes && granted.bytes === this.granted.bytes) return;
    this.granted = granted;
    if (this.receiving === 'STREAMING') this.ackNow = true;
  }

  drain(code, reason = '', retryAfter = 0) {
    if (this.sending !== 'CLOSED' && !this.farewell) this.farewell = { code, reason, retryAfter };
  }

  /** Everything of their stream up to `cursor` is on the disk, but for `refusals` ([number, code, reason]). */
  durable(id, cursor, refusals) {
    if (!this.their?.id.equals(id)) return;
    const their = this.their;
    if (their.asked) {
      if (this.receiving === 'ASKED') this.receiving = 'STREAMING';
      Object.assign(their, { asked: false, due: cursor + 1, acked: cursor });
      this.ackNow = true;
    }
    their.durable = Math.max(their.durable, cursor);
    their.refusals.push(...refusals);
  }

  /** Nothing is taken any more, and nothing leaves: another link goes on, or this one is broken. */
  stop() { this.ended ??= 'stopped'; }

  // --- what the other end says ---

  receive(bytes, now) {
    if (this.ended) return;
    try {
      this.#take(decodeMessage(bytes), now);
    } catch (error) {
      this.stop();
      throw error;
    }
    this.#maybeEnd();
  }

  #take(message, now) {
    this.heard = now;
    this.pingAt = null;
    const handler = this[`on${message.type}`];
    if (handler) handler.call(this, message, now);
    else if (this.beside.has(message.type)) this.events.push({ beside: message });
    else if (message.type === 'REFUSE' && this.listener) throw refused(message);
    else throw broken('UNEXPECTED', `${message.type} does not belong here`);
  }

  onOPEN({ stream }) {
    if (this.receiving !== 'SILENT' && this.receiving !== 'STREAMING') throw broken('UNEXPECTED', 'OPEN out of turn');
    if (this.their?.id.equals(stream)) throw broken('UNEXPECTED', 'the stream is open');
    this.receiving = 'ASKED';
    this.their = { id: stream, asked: true, due: 1, durable: 0, acked: 0, batches: [], refusals: [] };
    this.largest = { envelopes: 0, bytes: 0 };
    this.events.push({ opened: stream });
  }

  onBATCH({ stream, first, envelopes }) {
    if (this.receiving !== 'STREAMING') throw broken('UNEXPECTED', 'BATCH out of turn');
    const their = this.their;
    if (!their.id.equals(stream)) throw broken('UNEXPECTED', 'BATCH of another stream');
    if (first > their.due) throw broken('UNEXPECTED', 'BATCH after a gap');
    const fresh = envelopes.slice(Math.min(their.due - Number(first), envelopes.length));
    if (!fresh.length) return;
    const begin = their.due;
    their.due += fresh.length;
    their.batches.push({ last: their.due - 1, bytes: fresh.reduce((sum, one) => sum + one.length, 0) });
    if (their.due - 1 - their.acked > this.largest.envelopes || this.#unacknowledged() > this.largest.bytes + BATCH.bytes) {
      throw broken('UNEXPECTED', 'more than was granted');
    }
    this.events.push({ received: { stream, first: begin, envelopes: fresh } });
  }

  onACK({ stream, cursor, refusals, window, windowBytes }) {
    if (this.formerStreams.has(stream.toString('hex'))) return;
    if (this.sending === 'IDLE' || !stream.equals(this.out.id)) throw broken('UNEXPECTED', 'ACK of a stream that is not open');
    const first = this.credit === null;
    const carried = first ? this.out.last : this.onLink;
    if (cursor > carried || (!first && cursor < this.out.cursor)) throw broken('UNEXPECTED', 'a cursor out of range');
    const told = new Set();
    for (const [number] of refusals) {
      if (told.has(number) || number > cursor || number < 1 || (!first && number <= this.out.cursor)) throw broken('UNEXPECTED', 'a refusal out of range');
      told.add(number);
    }
    if (first && cursor < this.out.cursor) {
      this.formerStreams.add(stream.toString('hex'));
      this.out.fresh();
      this.sending = this.sending === 'CLOSED' ? 'CLOSED' : 'IDLE';
      return;
    }
    const base = this.out.cursor;
    if (first) this.onLink = cursor;
    this.credit = { envelopes: window, bytes: windowBytes };
    if (this.sending === 'OPENED') this.sending = 'STREAMING';
    this.#settle(base, cursor, refusals);
  }

  #settle(base, cursor, refusals) {
    const settled = this.out.settle(cursor);
    if (!settled.length) return;
    const event = { done: [], refused: [], later: [] };
    const codes = new Map(refusals.map(([number, code, reason]) => [Number(number), [NAMES[code] ? code : CODES.UNEXPECTED, reason]]));
    settled.forEach((item, i) => {
      const [code, reason] = codes.get(base + 1 + i) ?? [];
      if (code === CODES.OVERLOADED) event.later.push(item);
      else {
        event.done.push(item);
        if (code !== undefined) event.refused.push([item, code, reason]);
      }
    });
    this.events.push({ settled: event });
  }

  onCLOSE({ code, reason, retryAfter }, now) {
    if (this.receiving === 'CLOSED') throw broken('UNEXPECTED', 'CLOSE twice');
    this.receiving = 'CLOSED';
    this.closeBegan ??= now;
    this.drain(CODES.NONE);
    this.events.push({ closing: code, reason, retryAfter });
  }

  onPING({ token }) { this.pong = token; }

  onPONG({ token }) {
    if (token < 1 || token > this.pings) throw broken('UNEXPECTED', 'PONG without PING');
  }

  // --- what leaves ---

  /** The next message that may leave now, or null. */
  next(now) {
    if (this.ended) return null;
    const message = this.#next(now);
    this.#maybeEnd();
    return message;
  }

  #next(now) {
    if (this.sending === 'IDLE' && !this.farewell) {
      this.sending = 'OPENED';
      this.credit = null;
      this.onLink = 0;
      return encodeMessage('OPEN', { stream: this.out.id });
    }
    if (this.pong !== null) {
      const token = this.pong;
      this.pong = null;
      return encodeMessage('PONG', { token });
    }
    if (this.#ackDue(now)) return this.#ack(now);
    if (this.farewell && this.sending !== 'CLOSED') {
      this.sending = 'CLOSED';
      this.closeBegan ??= now;
      return encodeMessage('CLOSE', this.farewell);
    }
    if (this.says.length) return encodeMessage(...this.says.shift());
    const batch = this.sending === 'STREAMING' && this.mayBatch() ? this.#batch() : null;
    if (batch) return batch;
    if (now - this.heard >= SILENCE && this.pingAt === null) {
      this.pingAt = now;
      this.pings += 1;
      return encodeMessage('PING', { token: this.pings });
    }
    return null;
  }

  #ackDue(now) {
    if (!this.their || this.their.asked) return false;
    if (this.ackNow) return true;
    const { due, durable, acked } = this.their;
    if (durable === acked) return false;
    if (now - this.lastAck >= PACE || this.closeBegan !== null || this.farewell) return true;
    return due - 1 - acked >= this.granted.envelopes / 2 || this.#unacknowledged() >= this.granted.bytes / 2;
  }

  /** How many bytes of their stream have come that were not acknowledged; a batch of which a part was counts whole. */
  #unacknowledged() { return this.their.batches.reduce((sum, { bytes }) => sum + bytes, 0); }

  #ack(now) {
    const their = this.their;
    const refusals = their.refusals.splice(0);
    their.acked = their.durable;
    their.batches = their.batches.filter(({ last }) => last > their.acked);
    this.ackNow = false;
    this.lastAck = now;
    for (const key of ['envelopes', 'bytes']) this.largest[key] = Math.max(this.largest[key], this.granted[key]);
    return encodeMessage('ACK', {
      stream: their.id, cursor: their.acked, refusals, window: this.granted.envelopes, windowBytes: this.granted.bytes,
    });
  }

  #batch() {
    const out = this.out;
    const sent = this.onLink - out.cursor;
    let flying = out.unsettled.slice(0, sent).reduce((sum, item) => sum + item.bytes.length, 0);
    const window = Math.min(Number(this.credit.envelopes), WINDOW.envelopes);
    const windowBytes = Math.min(Number(this.credit.bytes), WINDOW.bytes);
    if (!windowBytes) return null;
    const first = this.onLink + 1;
    const envelopes = [];
    let size = 0;
    const again = out.unsettled.length > sent; // what is sent again goes by itself
    const most = this.onLink === out.cursor && windowBytes < MAX_ENVELOPE ? 1 : BATCH.envelopes; // session-39
    while (envelopes.length < most && this.onLink - out.cursor < window) {
      const repeated = out.unsettled[this.onLink - out.cursor];
      const item = repeated ?? out.head;
      if (!item || (again && !repeated)) break;
      const length = item.bytes.length;
      const alone = this.onLink === out.cursor;
      if (!alone && flying + length > windowBytes) break;
      if (envelopes.length && size + length > BATCH.bytes) break;
      if (!repeated) out.take();
      envelopes.push(item.bytes);
      size += length;
      flying += length;
      this.onLink += 1;
    }
    return envelopes.length ? encodeMessage('BATCH', { stream: out.id, first, envelopes }) : null;
  }

  // --- time and the end ---

  tick(now) {
    if (this.ended) return;
    if (this.pingAt !== null && now - this.pingAt >= PATIENCE) this.#end('lost');
    else if (this.closeBegan !== null && now - this.closeBegan >= CLOSING) this.#end('incomplete');
    else this.#maybeEnd();
  }

  #maybeEnd() {
    if (this.ended || this.sending !== 'CLOSED' || this.receiving !== 'CLOSED') return;
    const theirs = !this.their || (!this.their.asked && this.their.due - 1 === this.their.acked && !this.ackNow);
    const ours = this.onLink <= this.out.cursor;
    if (theirs && ours) this.#end('complete');
  }

  #end(how) {
    this.ended = how;
    this.events.push({ end: how });
  }

  /** When `tick` and `next` are to be called again, if nothing else happens. */
  wakeAt() {
    const times = [this.pingAt === null ? this.heard + SILENCE : this.pingAt + PATIENCE];
    if (this.closeBegan !== null) times.push(this.closeBegan + CLOSING);
    if (this.their && this.their.durable !== this.their.acked) times.push(this.lastAck + PACE);
    return Math.min(...times);
  }
}
