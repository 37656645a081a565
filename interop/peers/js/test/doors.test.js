// What a homeserver's doors let in: TLS, the opening, and who may call.

import assert from 'node:assert/strict';
import test from 'node:test';
import tls from 'node:tls';
import WebSocket from 'ws';
import { FEDERATION, dial } from '../src/channel.js';
import { CODES } from '../src/codes.js';
import { Homeserver } from '../src/homeserver.js';
import { DIALLER, PROBE } from '../src/handshake.js';
import { handshake } from '../src/link.js';
import { readSite } from '../src/site.js';
import { decodeMessage, encodeMessage } from '../src/wire.js';
import { network } from './network.js';

async function staged(more, body) {
  const net = await network(['a.test', 'b.test', 'c.test'], more);
  const home = new Homeserver(readSite(net.sites['a.test'].path));
  await home.start();
  try {
    await body(net.sites, home);
  } finally {
    await home.stop();
    net.remove();
  }
}

/** Call a.test with the TLS key of one domain. */
const call = (sites, as) => dial({
  profile: FEDERATION, credentials: { ...sites[as].tls, spki: sites[as].spki }, address: '127.0.0.1', port: sites['a.test'].ports[0], host: 'fed.a.test',
  keys: [sites['a.test'].spki],
});

const claim = async (sites, { as, own = as, wanted = 'a.test', expected = [sites['a.test'].identity.fingerprint] }) => {
  const channel = await call(sites, as);
  const extensions = new Map([[PROBE, Buffer.alloc(0)]]); // the listener has no session with whoever offers it
  return handshake(channel, { extensions, role: DIALLER, own, wanted, expected, identity: sites[as].identity, judge: { proof() {} } });
};

test('who may call, and what the others are told', { timeout: 30000 }, async () => {
  const more = (domain, site) => { if (domain === 'a.test') site.peers['c.test'].level = 'none'; };
  await staged(more, async (sites) => {
    const { domain } = await claim(sites, { as: 'b.test' });
    assert.equal(domain, 'a.test');
    const told = (how, code) => assert.rejects(() => claim(sites, how), { kind: 'Refused', code });
    await told({ as: 'b.test', wanted: 'x.test' }, 'WRONG_NAME');
    await told({ as: 'c.test' }, 'POLICY');
    await told({ as: 'b.test', own: 'd.test' }, 'POLICY');
    await told({ as: 'c.test', own: 'b.test' }, 'KEY_MISMATCH');
  });
  const open = (domain, site) => { if (domain === 'a.test') site.default_level = 'full'; };
  await staged(open, async (sites) => {
    await assert.rejects(() => claim(sites, { as: 'b.test', own: 'd.test' }), { kind: 'Refused', code: 'DISCOVERY' });
    sites['c.test'].tls = sites['b.test'].tls;
    sites['c.test'].spki = sites['b.test'].spki;
    await assert.rejects(() => claim(sites, { as: 'c.test', own: 'b.test' }), { kind: 'Refused', code: 'IDENTITY_MISMATCH' });
    for (let i = 0; i < 5; i += 1) await assert.rejects(() => claim(sites, { as: 'c.test', own: 'b.test' }), { code: 'IDENTITY_MISMATCH' });
    await assert.rejects(() => claim(sites, { as: 'c.test', own: 'b.test' }), { kind: 'Refused', code: 'BUSY' });
  });
});

test('text, too long a message, and no CBOR', { timeout: 30000 }, async () => {
  await staged(undefined, async (sites) => {
    const closed = (channel) => new Promise((resolve) => { channel.socket.once('close', resolve); });
    const talk = await call(sites, 'b.test');
    talk.socket.send('hello');
    assert.equal(await closed(talk), 1003);
    const long = await call(sites, 'b.test');
    long.socket.send(Buffer.alloc(1048577));
    assert.equal(await closed(long), 1009);
    const garbage = await call(sites, 'b.test');
    garbage.send(Buffer.from('ff', 'hex'));
    const answer = decodeMessage(await garbage.receive());
    assert.deepEqual([answer.type, answer.code], ['REFUSE', CODES.MALFORMED]);
    assert.equal(await closed(garbage), 1000);
    const early = await call(sites, 'b.test');
    early.send(encodeMessage('PING', { token: 1 }));
    assert.equal(decodeMessage(await early.receive()).code, CODES.UNEXPECTED);
    const big = await call(sites, 'b.test');
    big.send(encodeMessage('SHOWN', { domain: 'a.test', message: Buffer.alloc(16384) }));
    assert.equal(decodeMessage(await big.receive()).code, CODES.MALFORMED);
  });
});

test('TLS and the opening have to be of the profile', { timeout: 30000 }, async () => {
  await staged(undefined, async (sites) => {
    const { certificate, key } = sites['b.test'].tls;
    const right = {
      host: '127.0.0.1', port: sites['a.test'].ports[0], cert: certificate, key, ALPNProtocols: ['volly-fed/1'], rejectUnauthorized: false,
      minVersion: 'TLSv1.3', ecdhCurve: 'X25519MLKEM768', sigalgs: 'mldsa65', servername: 'fed.a.test',
    };
    const fate = (changes) => new Promise((resolve) => {
      const socket = tls.connect({ ...right, ...changes });
      socket.once('error', () => resolve('ended'));
      socket.once('close', () => resolve('ended'));
      socket.once('data', (data) => resolve(String(data).split('\r\n')[0]));
      const path = changes.asked ?? '/federation/v1';
      const named = changes.subprotocol === undefined ? 'Sec-WebSocket-Protocol: volly-fed.v1\r\n' : changes.subprotocol;
      const upgrade = changes.plain ? '' : 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
      socket.once('secureConnect', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${upgrade}${named}\r\n`));
    });
    assert.equal(await fate({}), 'HTTP/1.1 101 Switching Protocols');
    assert.equal(await fate({ ALPNProtocols: ['h2'] }), 'ended');
    assert.equal(await fate({ ALPNProtocols: undefined }), 'ended');
    assert.equal(await fate({ cert: undefined, key: undefined }), 'ended');
    assert.equal(await fate({ ecdhCurve: 'X25519' }), 'ended');
    assert.equal(await fate({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }), 'ended');
    assert.equal(await fate({ ciphers: 'TLS_AES_128_GCM_SHA256' }), 'ended');
    assert.equal(await fate({ asked: '/edge/v1' }), 'HTTP/1.1 404 Not Found');
    assert.equal(await fate({ subprotocol: '' }), 'HTTP/1.1 400 Bad Request');
    assert.equal(await fate({ plain: true }), 'HTTP/1.1 426 Upgrade Required');
  });
});

test('a WebSocket extension that is offered is left out', { timeout: 30000 }, async () => {
  await staged(undefined, async (sites) => {
    const { certificate, key } = sites['b.test'].tls;
    const socket = tls.connect({
      host: '127.0.0.1', port: sites['a.test'].ports[0], cert: certificate, key, ALPNProtocols: ['volly-fed/1'], rejectUnauthorized: false,
      ecdhCurve: 'X25519MLKEM768', sigalgs: 'mldsa65',
    });
    await new Promise((resolve) => { socket.once('secureConnect', resolve); });
    const ws = new WebSocket('ws://fed.a.test/federation/v1', ['volly-fed.v1'], { createConnection: () => socket });
    await new Promise((resolve) => { ws.once('open', resolve); });
    assert.equal(ws.extensions, '');
    ws.terminate();
  });
});
