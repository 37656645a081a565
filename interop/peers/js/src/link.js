// A handshake, then a session, on one channel: the shell that gives both their messages and their time.
//
// In: a channel, and an owner that judges and is told. Out: who is at the other end; the session's events, to the owner.
// Never: a rule of the protocol; those are in handshake.js and session.js.

import { CODES, ProtocolError, broken } from './codes.js';
import { random } from './crypto.js';
import { DEADLINE, DIALLER, Handshake, LISTENER, refusal } from './handshake.js';
import { Session } from './session.js';
import { encodeMessage } from './wire.js';

const LEAVES = 30; // seconds within which one message has to leave

export const clock = () => performance.now() / 1000;

/**
 * One end of the handshake. `judge.claim(peer)` gives the fingerprints that the claimed domain publishes, `judge.proof(peer)` has the last word; both
 * throw what is to be refused. Refuses, closes and throws where anything is wrong.
 */
export async function handshake(channel, { role, own, wanted, expected, identity, statement, extensions, judge }) {
  const machine = new Handshake({
    role, own, wanted, expected, identity, nonce: random(32), channel: channel.facts, now: clock(),
    ...(statement && { statement }), ...(extensions && { extensions }),
  });
  const next = async () => {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(machine.reject('TIMEOUT', 'the handshake takes too long')), Math.max(0, machine.began + DEADLINE - clock()) * 1000);
    });
    try {
      machine.receive(await Promise.race([channel.receive(), late]), clock());
    } finally {
      clearTimeout(timer);
    }
  };
  try {
    if (role === DIALLER) channel.send(machine.start());
    await next();
    channel.send(role === DIALLER ? machine.prove() : machine.accept(judge.claim(machine.peer)));
    await next();
    judge.proof(machine.peer);
    channel.allowance = Infinity;
    if (role === LISTENER) channel.send(machine.prove());
    return machine.peer;
  } catch (error) {
    const known = error instanceof ProtocolError ? error : broken('BUSY', 'an error of our own', 5);
    if (known.kind !== 'Refused' && known.kind !== 'Ended') channel.send(refusal(known));
    channel.close(1000);
    throw error;
  }
}

/** An established link. The owner has `event(link, event)` and `ended(link, how)`; `ended` is called once. */
export class Link {
  #timer = null;

  constructor({ channel, owner, out, beside, sent, listener, name }) {
    Object.assign(this, { channel, owner, name, listener });
    this.established = clock();
    this.session = new Session({ out, now: this.established, beside, sent, listener });
    this.over = false;
    channel.onDrain = () => this.pump();
    this.#read();
  }

  async #read() {
    try {
      for (;;) {
        const bytes = await this.channel.receive();
        if (this.over) return;
        this.session.receive(bytes, clock());
        if (!this.channel.more) this.pump(); // what came together is answered together
      }
    } catch (error) {
      if (error.kind === 'Ended') this.#finish(error.message);
      else if (error.kind === 'Refused') this.#finish(`refused: ${error.code}`, error);
      else this.fail(error);
    }
  }

  /** Deal with what has happened, and let leave what may leave. */
  pump() {
    if (this.over) return;
    try {
      this.#events();
      this.session.tick(clock());
      while (!this.channel.crowded && !this.over) {
        const message = this.session.next(clock());
        if (!message) break;
        this.channel.send(message);
        this.#events();
      }
      this.#events();
      if (this.channel.stuck > LEAVES) throw broken('TIMEOUT', 'a message does not leave');
    } catch (error) {
      this.fail(error);
      return;
    }
    clearTimeout(this.#timer);
    if (!this.over) this.#timer = setTimeout(() => this.pump(), Math.max(1, Math.min(1, this.session.wakeAt() - clock()) * 1000));
  }

  #events() {
    while (this.session.events.length && !this.over) {
      const event = this.session.events.shift();
      if (event.end) this.#finish(event.end);
      else this.owner.event(this, event);
    }
  }

  say(type, fields) {
    this.session.say(type, fields);
    this.pump();
  }

  /** End in order: the other end has 10 seconds to agree. */
  close(code, reason = '', retryAfter = 0) {
    this.session.drain(CODES[code], reason, retryAfter);
    this.pump();
  }

  /** End at once, with CLOSE as the last message. */
  fail(error) {
    if (this.over) return;
    const known = error instanceof ProtocolError ? error : broken('BUSY', 'an error of our own', 5);
    if (known !== error) this.owner.wrong?.(error);
    this.channel.send(encodeMessage('CLOSE', { code: CODES[known.code], reason: known.message.slice(0, 200), retryAfter: known.retryAfter }));
    this.#finish(known.code);
  }

  #finish(how, error) {
    if (this.over) return;
    this.over = true;
    this.session.stop();
    clearTimeout(this.#timer);
    if (how === 'lost') this.channel.drop();
    else this.channel.close(1000);
    this.owner.ended(this, how, error);
  }
}
