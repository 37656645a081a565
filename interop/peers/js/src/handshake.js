// Mutual proof of identity on one channel, both roles, without I/O (spec/handshake.md).
//
// In: what the other end says, what this end decides, time, the facts of the channel. Out: messages, and who the other end is.
// Never: AUTH before the other end's HELLO has passed every check; a transcript of anything but the bytes as they were on the wire.

import { CODES, ProtocolError, badMessage, broken } from './codes.js';
import { fingerprint, label, sha256, u16, u32, verify } from './crypto.js';
import { MAX_HANDSHAKE_MESSAGE, decodeMessage, encodeMessage } from './wire.js';

export const DIALLER = 1;
export const LISTENER = 2;
export const DEADLINE = 15;
export const PROBE = 1;
const VERSIONS = [1, 1];

const v16 = (bytes) => Buffer.concat([u16(bytes.length), bytes]);
const v32 = (bytes) => Buffer.concat([u32(bytes.length), bytes]);

/**
 * What the signer of a role signs.
 * @param {{exporters: Object<number, Buffer>, alpn: string, group: string, spki: Object<number, Buffer>}} channel facts, by role
 */
export function transcript(channel, role, diallerHello, listenerHello) {
  const hellos = sha256(label('HELLO_HASH'), v32(diallerHello), v32(listenerHello));
  return Buffer.concat([label('AUTH'), Buffer.from([role]), channel.exporters[role], v16(Buffer.from(channel.alpn)), v16(Buffer.from(channel.group)),
    channel.spki[role], channel.spki[3 - role], hellos]);
}

/** One end of one handshake. States are those of the table in handshake.md. */
export class Handshake {
  /**
   * @param {object} o `role`, `own` (domain), `identity`, `nonce`, `channel`, `now` (s); a dialler's `wanted` and `expected` (fingerprints that the
   *   wanted domain publishes); optionally `versions`, `extensions` (Map), `statement`
   */
  constructor(o) {
    Object.assign(this, { versions: VERSIONS, extensions: new Map(), statement: Buffer.alloc(0), ...o });
    this.began = o.now;
    this.state = o.role === DIALLER ? 'START' : 'LISTENING';
    this.hellos = {};
    this.peer = null; // {domain, identity, fingerprint, extensions, statement, version}
  }

  #from(state) {
    if (this.state !== state) throw this.#fail(broken('UNEXPECTED', `not allowed in ${this.state}`));
  }

  #fail(error) {
    this.state = 'CLOSED';
    return error;
  }

  /** This end refuses, for reasons that are not the protocol's. Gives the error. */
  reject(code, reason = '') { return this.#fail(broken(code, reason)); }

  /** Time has passed. Throws where the handshake has lasted too long. */
  tick(now) {
    if (this.state === 'ESTABLISHED' || this.state === 'CLOSED') return;
    if (now - this.began >= DEADLINE) throw this.#fail(broken('TIMEOUT', 'the handshake takes too long'));
  }

  #hello() {
    const bytes = encodeMessage('HELLO', {
      versions: this.versions, own: this.own, wanted: this.wanted, identity: this.identity.public, nonce: this.nonce, extensions: this.extensions,
    });
    this.hellos[this.role] = bytes;
    return bytes;
  }

  #signed(role) {
    return transcript(this.channel, role, this.hellos[DIALLER], this.hellos[LISTENER]);
  }

  /** The dialler's HELLO. */
  start() {
    this.#from('START');
    this.state = 'GREETING';
    return this.#hello();
  }

  /** A message has come. Throws what is to be refused, or what the other end refuses. */
  receive(bytes, now) {
    try {
      this.tick(now);
      const message = decodeMessage(bytes, MAX_HANDSHAKE_MESSAGE);
      const handler = { GREETING: 'HELLO', LISTENING: 'HELLO', PROVING: 'AUTH', ACCEPTED: 'AUTH' }[this.state];
      if (message.type === 'REFUSE' && this.state !== 'ESTABLISHED' && this.state !== 'CLOSED') {
        throw refused(message);
      }
      if (message.type !== handler) throw broken('UNEXPECTED', `${message.type} in ${this.state}`);
      if (message.type === 'HELLO') this.#greeted(message, bytes);
      else this.#proved(message);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  #greeted(hello, bytes) {
    const [lowest, highest] = hello.versions;
    if (lowest > highest) throw badMessage('a range of versions that ends before it begins');
    if (hello.wanted !== this.own) throw broken('WRONG_NAME', 'this is another domain');
    if (hello.identity.equals(this.identity.public)) throw broken('IDENTITY_MISMATCH', 'this identity is our own');
    const version = Number(highest < this.versions[1] ? highest : this.versions[1]);
    if (version < lowest || version < this.versions[0]) throw broken('UNSUPPORTED_VERSION', 'no version in common');
    if (this.role === DIALLER && hello.own !== this.wanted) throw broken('WRONG_NAME', 'another domain answers');
    this.peer = {
      domain: hello.own, identity: hello.identity, fingerprint: fingerprint(hello.identity), extensions: hello.extensions, statement: null, version,
    };
    this.hellos[3 - this.role] = bytes;
    if (this.role === LISTENER) {
      this.state = 'CLAIMED';
      return;
    }
    this.#published(this.expected);
    this.state = 'GREETED';
  }

  #published(expected) {
    if (!expected.some((one) => one.equals(this.peer.fingerprint))) throw broken('IDENTITY_MISMATCH', 'the identity is not one that the domain publishes');
  }

  /** The listener has looked the claimed domain up, and it publishes these fingerprints. Gives its HELLO. */
  accept(expected) {
    this.#from('CLAIMED');
    try {
      this.#published(expected);
    } catch (error) {
      throw this.#fail(error);
    }
    this.state = 'ACCEPTED';
    this.wanted = this.peer.domain;
    return this.#hello();
  }

  #proved(auth) {
    verify(this.peer.identity, this.#signed(3 - this.role), label('AUTH_CONTEXT'), auth.signature);
    this.peer.statement = auth.statement;
    this.state = this.role === DIALLER ? 'ESTABLISHED' : 'PROVED';
  }

  /** This end's AUTH. */
  prove() {
    this.#from(this.role === DIALLER ? 'GREETED' : 'PROVED');
    this.state = this.role === DIALLER ? 'PROVING' : 'ESTABLISHED';
    const signature = this.identity.sign(this.#signed(this.role), label('AUTH_CONTEXT'));
    return encodeMessage('AUTH', { signature, statement: this.statement });
  }
}

/** The error that a REFUSE of the other end is. */
export const refused = (message) => new ProtocolError('Refused', nameOf(message.code), message.reason, Number(message.retryAfter));
const nameOf = (code) => Object.keys(CODES).find((name) => CODES[name] === code);

/** REFUSE for what this end found wrong. */
export const refusal = (error) => encodeMessage('REFUSE', { code: CODES[error.code], reason: error.message.slice(0, 200), retryAfter: error.retryAfter });
