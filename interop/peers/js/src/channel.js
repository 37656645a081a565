// TLS 1.3 and a WebSocket, both ends (spec/channel.md).
//
// In: addresses, certificate and key (PEM), a profile. Out: a Channel: binary messages, and the facts that the handshake binds itself to.
// Never: a channel whose TLS is not of its profile; a resumed TLS session; a WebSocket extension; the opening sent to a key that was not compared.

import { constants } from 'node:crypto';
import http from 'node:http';
import tls from 'node:tls';
import WebSocket, { WebSocketServer } from 'ws';
import { LABELS, ProtocolError } from './codes.js';
import { certificateKey } from './crypto.js';
import { DIALLER, LISTENER } from './handshake.js';
import { MAX_MESSAGE } from './wire.js';

export const FEDERATION = { alpn: 'volly-fed/1', path: '/federation/v1', subprotocol: 'volly-fed.v1' };
export const EDGE = { alpn: 'volly-edge/1', path: '/edge/v1', subprotocol: 'volly-edge.v1' };
const GROUP = 'X25519MLKEM768';
const CIPHERS = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];
const UNFINISHED = 2359296;
const STRANGER = 65536; // bytes of a caller before its proof
const FAREWELL = 1000;
const CROWDED = 1048576; // bytes that may wait for the network before this end makes more
const OPENING = 16384;

/** This end answers pings itself, and bounds the bytes of a message instead of its fragments. */
const WEBSOCKET = { perMessageDeflate: false, maxPayload: MAX_MESSAGE, maxFragments: UNFINISHED, autoPong: false };

const failure = (reason) => new ProtocolError('RemoteError', 'CHANNEL', reason);

const options = (profile, { certificate, key }) => ({
  cert: certificate, key, ALPNProtocols: [profile.alpn], minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: CIPHERS.join(':'),
  ecdhCurve: GROUP, sigalgs: 'mldsa65', requestCert: true, rejectUnauthorized: false, secureOptions: constants.SSL_OP_NO_TICKET,
});

/** What was negotiated, looked at once more; `ownSpki` is the digest of the key that this end showed. */
function factsOf(socket, profile, role, ownSpki) {
  if (socket.getProtocol() !== 'TLSv1.3') throw failure('not TLS 1.3');
  if (!CIPHERS.includes(socket.getCipher().standardName)) throw failure('another cipher suite');
  if (socket.alpnProtocol !== profile.alpn) throw failure('another protocol');
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) throw failure('no certificate');
  const { sha256, mlDsa } = certificateKey(certificate.raw);
  if (!mlDsa) throw failure('a key of another kind');
  const exporter = (of) => socket.exportKeyingMaterial(64, LABELS.EXPORTER, Buffer.from([of]));
  return {
    alpn: profile.alpn, group: GROUP, peerSpki: sha256,
    exporters: { [DIALLER]: exporter(DIALLER), [LISTENER]: exporter(LISTENER) },
    spki: { [role]: ownSpki, [3 - role]: sha256 },
  };
}

/** An open WebSocket. `receive` gives the messages one after the other, and throws when there will be no more. */
export class Channel {
  #queue = [];
  #wake = null;
  #asked = null; // what the last ping carried that was not answered
  #ponging = false;
  #leaving = []; // when each message that has not left was handed over

  constructor(socket, tlsSocket, facts) {
    this.socket = socket;
    this.facts = facts;
    this.remote = tlsSocket.remoteAddress;
    this.ended = null;
    this.allowance = Infinity; // how many bytes may still come
    this.onDrain = () => {};
    socket.on('message', (data, binary) => {
      unfinished = 0;
      if (!binary) this.close(1003);
      else if (!this.ended) this.#put(data);
    });
    let unfinished = 0;
    tlsSocket.on('data', (chunk) => {
      unfinished += chunk.length;
      this.allowance -= chunk.length;
      if (this.allowance < 0) this.drop();
      else if (unfinished > UNFINISHED) this.close(1008);
    });
    socket.on('ping', (data) => {
      this.#asked = data;
      this.#pong();
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', (code) => this.#end(`closed with ${code}`));
  }

  /** One answer at a time: of several pings that wait, the last is answered. */
  #pong() {
    if (this.#ponging || this.#asked === null || this.socket.readyState !== WebSocket.OPEN) return;
    this.#ponging = true;
    this.socket.pong(this.#asked, undefined, () => {
      this.#ponging = false;
      this.#pong();
    });
    this.#asked = null;
  }

  #put(data) {
    this.#queue.push(data);
    this.#wake?.();
  }

  #end(why) {
    this.ended ??= why;
    this.#wake?.();
  }

  /** Whether another message has come already. */
  get more() { return this.#queue.length > 0; }

  async receive() {
    while (!this.#queue.length) {
      if (this.ended) throw new ProtocolError('Ended', 'NONE', this.ended);
      await new Promise((resolve) => { this.#wake = resolve; });
    }
    return this.#queue.shift();
  }

  send(bytes) {
    this.#leaving.push(performance.now());
    this.socket.send(bytes, { binary: true }, () => {
      this.#leaving.shift();
      this.onDrain();
    });
  }

  get crowded() { return this.socket.bufferedAmount > CROWDED; }

  /** For how many seconds the oldest message has waited to leave. */
  get stuck() { return this.#leaving.length ? (performance.now() - this.#leaving[0]) / 1000 : 0; }

  /** Say goodbye; whoever does not answer within a second is cut off. */
  close(code = 1000) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.close(code);
    this.#end(`closed here with ${code}`);
    setTimeout(() => this.socket.terminate(), FAREWELL).unref();
  }

  drop() {
    this.#end('dropped');
    this.socket.terminate();
  }
}

/** Something that must happen within some seconds, or `socket` is destroyed. */
function within(seconds, socket, reason) {
  const timer = setTimeout(() => socket.destroy(failure(reason)), seconds * 1000);
  return () => clearTimeout(timer);
}

/**
 * Connect to one address of a target.
 * @param {{profile: object, credentials: {certificate: string, key: string, spki: Buffer}, address: string, port: number, host: string,
 *   keys: Buffer[] | null}} o `keys`: digests of which the listener's key has to be one; null: any (an edge compares the identity instead)
 */
export async function dial({ profile, credentials, address, port, host, keys }) {
  const socket = tls.connect({ ...options(profile, credentials), host: address, port, servername: host });
  socket.on('error', () => {});
  const settled = (event) => new Promise((resolve, reject) => {
    socket.once(event, resolve);
    socket.once('error', (error) => reject(failure(error.message)));
    socket.once('close', () => reject(failure('the connection ended')));
  });
  let done = within(5, socket, 'no connection');
  await settled('connect');
  done();
  done = within(10, socket, 'no TLS');
  await settled('secureConnect');
  done();
  try {
    const facts = factsOf(socket, profile, DIALLER, credentials.spki);
    if (keys && !keys.some((key) => key.equals(facts.peerSpki))) throw failure("the listener's key is not a published one");
    const ws = new WebSocket(`ws://${host}${profile.path}`, [profile.subprotocol], {
      ...WEBSOCKET, createConnection: () => socket, followRedirects: false,
    });
    const channel = new Channel(ws, socket, facts);
    done = within(5, socket, 'no answer to the opening');
    await new Promise((resolve, reject) => {
      ws.once('open', resolve);
      ws.once('error', (error) => reject(failure(error.message)));
    });
    done();
    return channel;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** Listen with one profile; `onChannel` is called with each channel whose WebSocket is open. */
export class Listener {
  #sockets = new Set();

  constructor({ profile, credentials, onChannel }) {
    this.profile = profile;
    this.credentials = credentials;
    this.web = new WebSocketServer({ ...WEBSOCKET, noServer: true, handleProtocols: () => profile.subprotocol });
    this.http = http.createServer({ maxHeaderSize: OPENING }, (request, response) => {
      response.writeHead(request.url === profile.path ? 426 : 404, { connection: 'close' }).end();
    });
    this.http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head, onChannel));
    this.tls = tls.createServer({ ...options(profile, credentials), handshakeTimeout: 10000 }, (socket) => this.#secured(socket));
    this.tls.on('connection', (raw) => {
      this.#sockets.add(raw);
      raw.once('close', () => this.#sockets.delete(raw));
    });
    this.tls.on('tlsClientError', (_, socket) => socket.destroy()); // a handshake that takes too long among them
  }

  #secured(socket) {
    socket.on('error', () => {});
    try {
      socket.facts = factsOf(socket, this.profile, LISTENER, this.credentials.spki);
    } catch {
      socket.destroy();
      return;
    }
    socket.opened = within(5, socket, 'no opening');
    this.http.emit('connection', socket);
  }

  #upgrade(request, socket, head, onChannel) {
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (request.url !== this.profile.path) return void socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
    if (!offered.includes(this.profile.subprotocol)) return void socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    return this.web.handleUpgrade(request, socket, head, (ws) => {
      socket.opened();
      const channel = new Channel(ws, socket, socket.facts);
      channel.allowance = STRANGER;
      onChannel(channel);
    });
  }

  listen(address, port) {
    return new Promise((resolve, reject) => {
      this.tls.once('error', reject);
      this.tls.listen(port, address, () => resolve(this.tls.address().port));
    });
  }

  /** Show another certificate from now on. */
  renew(credentials) {
    this.credentials = credentials;
    this.tls.setSecureContext(options(this.profile, credentials));
  }

  close() {
    this.tls.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
