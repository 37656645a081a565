import assert from 'node:assert/strict';
import { OutStream, Session } from '../src/session.js';
import { consume, hex } from './vectors.js';

const text = (item) => item.bytes.toString('hex');

/** An event in the form of the vectors. */
function shown(event) {
  if (event.opened) return { opened: event.opened.toString('hex') };
  if (event.received) {
    const { stream, first, envelopes } = event.received;
    return { received: { stream: stream.toString('hex'), first, envelopes: envelopes.map((e) => e.toString('hex')) } };
  }
  if (event.settled) {
    const { done, refused, later } = event.settled;
    return { settled: { done: done.map(text), refused: refused.map(([item, code]) => [text(item), code]), later: later.map(text) } };
  }
  if ('closing' in event) return { closing: event.closing };
  return event;
}

function play(given) {
  const ids = given.streams.map(hex);
  const out = new OutStream(() => ids.shift());
  let now = 0;
  let session = new Session({ out, now });
  for (const { t, ...step } of given.steps) {
    if (t !== undefined) now = t;
    if ('in' in step) session.receive(hex(step.in), now);
    else if ('out' in step) assert.equal(session.next(now)?.toString('hex') ?? '', step.out);
    else if (step.offer) out.offer(step.offer.map((e) => ({ bytes: hex(e) })), step.class);
    else if (step.durable) session.durable(hex(step.durable.stream), step.durable.cursor, step.durable.refusals);
    else if (step.grant) session.grant(step.grant.window, step.grant.window_bytes);
    else if (step.drain) session.drain(step.drain.code, step.drain.text);
    else if (step.tick) session.tick(now);
    else if (step.reconnect) session = new Session({ out, now });
    else assert.deepEqual(shown(session.events.shift()), step);
  }
}

consume('session/conversation.json', play);
consume('session/violation.json', play);
