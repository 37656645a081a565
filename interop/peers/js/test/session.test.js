import assert from 'node:assert/strict';
import { ProtocolError, TYPES } from '../src/codes.js';
import { OutStream, Session } from '../src/session.js';
import { decodeMessage, encodeMessage } from '../src/wire.js';
import { consume, hex } from './vectors.js';

const bytesOf = (envelope) => (typeof envelope === 'number' ? Buffer.alloc(envelope) : hex(envelope));
const textOf = (envelope) => bytesOf(envelope).toString('hex');
const encoded = ({ type, ...fields }) => encodeMessage(type, fields).toString('hex');
const typeOf = (number) => Object.keys(TYPES).find((name) => TYPES[name] === number);

/** A message as a vector gives it: encoded, or a BATCH of zeros by the sizes of its envelopes. */
function messageOf(given) {
  if (typeof given === 'string') return hex(given);
  return encodeMessage('BATCH', { stream: hex(given.stream), first: given.first, envelopes: given.sizes.map(bytesOf) });
}

/** An event in the form of the vectors. */
function shown(event) {
  const text = (item) => item.bytes.toString('hex');
  if (event.opened) return { opened: event.opened.toString('hex') };
  if (event.received) {
    const { stream, first, envelopes } = event.received;
    return { received: { stream: stream.toString('hex'), first, envelopes: envelopes.map((e) => e.toString('hex')) } };
  }
  if (event.settled) {
    const { done, refused, later } = event.settled;
    return { settled: { done: done.map(text), refused: refused.map(([item, code]) => [text(item), code]), later: later.map(text) } };
  }
  if (event.beside) return { got: encoded(event.beside) };
  if ('closing' in event) return { closing: event.closing };
  return event;
}

/** The event that a vector expects, with every envelope in full. */
function wanted(step) {
  if (step.received) return { received: { ...step.received, envelopes: step.received.envelopes.map(textOf) } };
  if (!step.settled) return step;
  const { done, refused, later } = step.settled;
  return { settled: { done: done.map(textOf), refused: refused.map(([e, code]) => [textOf(e), code]), later: later.map(textOf) } };
}

/** One end, through its links: what the steps of a case are done to. */
class Player {
  now = 0;
  held = false;
  older = null;

  constructor(given) {
    const ids = given.streams.map(hex);
    this.out = new OutStream(() => ids.shift());
    this.beside = new Set((given.beside ?? []).map(typeOf));
    this.#link();
  }

  #link() {
    this.session = new Session({ out: this.out, now: this.now, beside: this.beside });
    this.session.mayBatch = () => !this.held;
  }

  #offer(envelopes, urgency, first) { this.out.offer(envelopes.map((e) => ({ bytes: bytesOf(e) })), urgency, first); }

  #send(message, refused) {
    const { type, ...fields } = decodeMessage(message);
    if (refused) assert.throws(() => this.session.say(type, fields));
    else this.session.say(type, fields);
  }

  take({ t, older, ...step }) {
    if (t !== undefined) {
      this.now = t;
      this.session.tick(t);
    }
    const { now } = this;
    const session = older ? this.older : this.session;
    if ('in' in step) session.receive(messageOf(step.in), now);
    else if ('out' in step) assert.equal(session.next(now)?.toString('hex') ?? '', messageOf(step.out).toString('hex'));
    else if (step.offer) this.#offer(step.offer, step.class);
    else if (step.again) this.#offer(step.again, step.class, true);
    else if (step.forget) this.out.forget((item) => step.forget.map(textOf).includes(item.bytes.toString('hex')));
    else if ('hold' in step) this.held = step.hold;
    else if (step.send) this.#send(hex(step.send), step.refused);
    else if (step.durable) session.durable(hex(step.durable.stream), step.durable.cursor, step.durable.refusals);
    else if (step.grant) session.grant(step.grant.window, step.grant.window_bytes);
    else if (step.drain) session.drain(step.drain.code, step.drain.text);
    else if (step.reconnect || step.takeover) {
      this.older = session;
      session.stop();
      this.#link();
    } else if (!step.tick) assert.deepEqual(shown(session.events.shift()), wanted(step));
  }
}

function play(given) {
  const player = new Player(given);
  try {
    for (const step of given.steps) player.take(step);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const { session, now } = player;
    const events = session.events.length;
    session.receive(encodeMessage('PING', { token: 1 }), now);
    session.tick(now + 60);
    assert.equal(session.next(now + 60), null);
    assert.equal(session.events.length, events);
    throw error;
  }
  assert.deepEqual([...player.session.events, ...player.older?.events ?? []].map(shown), []);
}

consume('session/conversation.json', play);
consume('session/violation.json', play);
