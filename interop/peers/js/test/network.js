// Homeservers on this machine, and an edge with devices that a test plays by hand.

import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EDGE, dial } from '../src/channel.js';
import { acknowledgeCode, claimKeys, proofCode } from '../src/edge.js';
import { SAID, TOLD } from '../src/edges.js';
import * as keys from '../src/crypto.js';
import { DIALLER } from '../src/handshake.js';
import { Link, handshake } from '../src/link.js';
import { OutStream } from '../src/session.js';
import { encodeItem } from '../src/wire.js';
import { selfSigned } from './certificate.js';

const MAIN = new URL('../src/main.js', import.meta.url).pathname;
const seedOf = (name) => crypto.createHash('sha256').update(name).digest();

/** A port that nobody has, outside of those that the system gives to who calls: tests run side by side. */
async function freePort() {
  for (;;) {
    const port = crypto.randomInt(12000, 30000);
    const server = net.createServer();
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

function party(domain) {
  const identity = keys.identity(seedOf(`${domain} ml`), seedOf(`${domain} ed`));
  const tls = selfSigned(seedOf(`${domain} tls`), `fed.${domain}`);
  return { domain, identity, tls, spki: keys.tlsKeyDigest(seedOf(`${domain} tls`)) };
}

/** Folders with a site.json for each domain; everybody knows everybody. `more(domain, site)` may change a site. */
export async function network(domains, more = () => {}) {
  const root = mkdtempSync(join(tmpdir(), 'volly-'));
  const parties = [];
  for (const domain of domains) parties.push({ ...party(domain), ports: [await freePort(), await freePort()] });
  const edge = party('edge-1');
  const sites = {};
  for (const one of parties) {
    const folder = join(root, one.domain);
    mkdirSync(folder);
    writeFileSync(join(folder, 'tls.crt'), one.tls.certificate);
    writeFileSync(join(folder, 'tls.key'), one.tls.key);
    const site = {
      domain: one.domain, host: `fed.${one.domain}`,
      federation: { address: '127.0.0.1', port: one.ports[0] },
      edges: { address: '127.0.0.1', port: one.ports[1], enrolled: { 'edge-1': edge.identity.fingerprint.toString('hex') } },
      identity: { ml_dsa_65: seedOf(`${one.domain} ml`).toString('hex'), ed25519: seedOf(`${one.domain} ed`).toString('hex') },
      tls: { certificate: 'tls.crt', key: 'tls.key' }, default_level: 'none', data: 'data',
      peers: Object.fromEntries(parties.filter((other) => other !== one).map((other) => [other.domain, {
        level: 'full', presence: 'prompt', identity: other.identity.fingerprint.toString('hex'),
        targets: [{ host: `fed.${other.domain}`, address: '127.0.0.1', port: other.ports[0], priority: 0, weight: 5, tls: [other.spki.toString('hex')] }],
      }])),
    };
    more(one.domain, site);
    sites[one.domain] = { path: join(folder, 'site.json'), site, write() { writeFileSync(this.path, JSON.stringify(this.site)); }, ...one };
    sites[one.domain].write();
  }
  return { sites, edge, remove: () => rmSync(root, { recursive: true, force: true }) };
}

/** The program, as the contract starts it; `ready` when it says so. */
export function start(path) {
  const child = spawn(process.execPath, [MAIN, '--site', path], { stdio: ['ignore', 'pipe', 'pipe'] });
  const server = { child, told: [], notes: '' };
  const waits = [];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    server.told.push(...text.trim().split('\n').map((line) => JSON.parse(line).event));
    waits.splice(0).forEach((wake) => wake());
  });
  child.stderr.setEncoding('utf8').on('data', (text) => { server.notes += text; });
  const gone = new Promise((resolve) => { child.once('exit', (code, signal) => resolve(code ?? signal)); });
  gone.then(() => waits.splice(0).forEach((wake) => wake()));
  server.until = async (event) => {
    while (!server.told.includes(event)) {
      if (child.exitCode !== null) throw new Error(server.notes);
      await new Promise((resolve) => { waits.push(resolve); });
    }
  };
  server.end = (signal = 'SIGTERM') => {
    child.kill(signal);
    return gone;
  };
  return server;
}

/** An edge with one link. What comes beside the streams is read with `next`. */
export class ScriptedEdge {
  messages = [];
  settled = [];
  ending = null;
  #waits = [];

  constructor(net_) { this.party = net_.edge; }

  async connect(site) {
    const { party: me } = this;
    this.channel = await dial({
      profile: EDGE, credentials: { certificate: me.tls.certificate, key: me.tls.key, spki: me.spki },
      address: '127.0.0.1', port: site.site.edges.port, host: site.site.host, keys: null,
    });
    await handshake(this.channel, {
      role: DIALLER, own: 'edge-1', wanted: site.domain, expected: [site.identity.fingerprint], identity: me.identity, judge: { proof() {} },
    });
    this.out = new OutStream(() => keys.random(8));
    this.link = new Link({
      channel: this.channel, owner: this, out: this.out, listener: false, name: site.domain,
      beside: SAID, sent: TOLD,
    });
    this.link.pump();
    return this;
  }

  event(_, event) {
    if (event.beside) this.messages.push(event.beside);
    if (event.settled) this.settled.push(event.settled);
    this.#wake();
  }

  ended(_, how) {
    this.ending = how;
    this.#wake();
  }

  #wake() { this.#waits.splice(0).forEach((wake) => wake()); }

  async until(found) {
    for (;;) {
      const result = found();
      if (result !== undefined) return result;
      if (this.ending) throw new Error(`the link has ended: ${this.ending}`);
      await new Promise((resolve) => { this.#waits.push(resolve); });
    }
  }

  /** The next message of a type; others stay. */
  async next(type) {
    const at = await this.until(() => {
      const i = this.messages.findIndex((m) => m.type === type);
      return i < 0 ? undefined : i;
    });
    return this.messages.splice(at, 1)[0];
  }

  /** Hand over envelopes, and wait for what becomes of them: [code of each]. */
  async submit(...envelopes) {
    const items = envelopes.map((bytes) => ({ bytes }));
    this.out.offer(items, 1);
    this.link.pump();
    const code = (item) => {
      for (const { done, refused, later } of this.settled) {
        if (later.includes(item)) return 34;
        if (done.includes(item)) return refused.find(([one]) => one === item)?.[1] ?? 0;
      }
      return undefined;
    };
    return Promise.all(items.map((item) => this.until(() => code(item))));
  }

  /** Claim a device's mailbox; gives how to acknowledge what is delivered. */
  async claim(device, registration, request = 1) {
    this.link.say('CLAIM', { request, key: device.public });
    const challenge = await this.next('CHALLENGE');
    const claim = claimKeys(device.open(challenge.ciphertext), challenge);
    this.link.say('PROOF', { request, mac: proofCode(claim, device.id, registration), registration });
    await this.next('CLAIMED');
    return (envelopes) => {
      const ids = envelopes.map((bytes) => bytes.idOf);
      const mac = acknowledgeCode(claim.acknowledge, device.id, ids, envelopes.map((bytes) => keys.sha256(bytes)));
      this.link.say('ACKNOWLEDGE', { mailbox: device.id, ids, mac });
    };
  }
}

const capabilityOf = (name) => seedOf(`${name} capability`).subarray(0, 16);
export const registrationOf = (name, scopes = ['*']) => encodeItem([1, [[keys.sha256(keys.label('CAPABILITY'), capabilityOf(name)), scopes]]]);

/** An envelope for the mailbox of `name`'s device at a domain. */
export function envelope(device, name, domain, { lives = 3600, urgency = 1, id = keys.random(16), size = 1024 } = {}) {
  const expiry = Math.floor(Date.now() / 1000) + lives;
  const bytes = encodeItem([1, device.id, domain, id, expiry, urgency, capabilityOf(name), keys.random(size)]);
  return Object.assign(bytes, { idOf: id });
}
