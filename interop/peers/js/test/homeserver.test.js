import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import test from 'node:test';
import * as keys from '../src/crypto.js';
import { has, place, tagOf } from '../src/filter.js';
import { Homeserver } from '../src/homeserver.js';
import { readSite } from '../src/site.js';
import { Viewing } from '../src/viewing.js';
import { decodeMessage } from '../src/wire.js';
import { ScriptedEdge, envelope, network, registrationOf, start } from './network.js';

const device = keys.mailbox(Buffer.alloc(32, 7));
/** The program, which is killed with the test if it has not ended. */
function running(t, path) {
  const server = start(path);
  t.after(() => server.child.kill('SIGKILL'));
  return server;
}

/** A homeserver in this process that ends with the test, whatever comes of it. */
function served(t, net, domain, options) {
  const home = new Homeserver(readSite(net.sites[domain].path), options);
  t.after(() => home.stop());
  return home;
}

const sorted = (list) => list.map((e) => e.toString('hex')).sort();

test('an envelope from one homeserver to the other, in one process', { timeout: 20000 }, async (t) => {
  const net = await network(['a.test', 'b.test']);
  t.after(net.remove);
  const [a, b] = ['a.test', 'b.test'].map((domain) => served(t, net, domain));
  await Promise.all([a.start(), b.start()]);
  const [edgeA, edgeB] = [await new ScriptedEdge(net).connect(net.sites['a.test']), await new ScriptedEdge(net).connect(net.sites['b.test'])];
  const acknowledge = await edgeB.claim(device, registrationOf('bob'));
  const sent = [envelope(device, 'bob', 'b.test'), envelope(device, 'bob', 'b.test', { urgency: 0 })];
  assert.deepEqual(await edgeA.submit(...sent), [0, 0]);
  const got = [];
  while (got.length < 2) got.push(...(await edgeB.next('DELIVER')).envelopes);
  assert.deepEqual(sorted(got), sorted(sent));
  acknowledge(sent);
  const refused = await edgeA.submit(envelope(device, 'nobody', 'b.test'), envelope(device, 'bob', 'c.test'));
  assert.deepEqual(refused, [0, 5]);
  const { outcomes } = await edgeA.next('RECEIPT');
  assert.deepEqual(outcomes.map(([, code]) => code), [32]);
  assert.equal(b.store.room(device.id).envelopes, 0);
  assert.equal(a.store.queuedInAll().envelopes, 0);
});

test('both sides dial at once, and one link stays', { timeout: 20000 }, async (t) => {
  const net = await network(['a.test', 'b.test']);
  t.after(net.remove);
  const [a, b] = ['a.test', 'b.test'].map((domain) => served(t, net, domain));
  await Promise.all([a.start(), b.start()]);
  await Promise.all([a.peer('b.test').dial(), b.peer('a.test').dial()]);
  const [edgeA, edgeB] = [await new ScriptedEdge(net).connect(net.sites['a.test']), await new ScriptedEdge(net).connect(net.sites['b.test'])];
  await edgeA.claim(device, registrationOf('bob'));
  await edgeB.submit(envelope(device, 'bob', 'a.test'));
  await edgeA.next('DELIVER');
  assert.equal(a.peer('b.test').link.dialled, true);
  assert.equal(b.peer('a.test').link.dialled, false);
});

test('what was accepted survives a kill, and a drain ends with 0', { timeout: 60000 }, async (t) => {
  const net = await network(['a.test', 'b.test']);
  t.after(net.remove);
  const a = running(t, net.sites['a.test'].path);
  await a.until('ready');
  const edgeA = await new ScriptedEdge(net).connect(net.sites['a.test']);
  const sent = Array.from({ length: 300 }, () => envelope(device, 'bob', 'b.test'));
  assert.deepEqual(new Set(await edgeA.submit(...sent)), new Set([0]));
  assert.equal(await a.end('SIGKILL'), 'SIGKILL');

  const b = running(t, net.sites['b.test'].path);
  await b.until('ready');
  const edgeB = await new ScriptedEdge(net).connect(net.sites['b.test']);
  const acknowledge = await edgeB.claim(device, registrationOf('bob'));
  const again = running(t, net.sites['a.test'].path);
  await again.until('ready');
  const got = [];
  while (got.length < sent.length) got.push(...(await edgeB.next('DELIVER')).envelopes);
  assert.deepEqual(sorted(got), sorted(sent));
  await again.end('SIGKILL');
  await b.end('SIGKILL');

  const later = running(t, net.sites['b.test'].path);
  await later.until('ready');
  const edge = await new ScriptedEdge(net).connect(net.sites['b.test']);
  await edge.claim(device, registrationOf('bob'));
  const back = [];
  while (back.length < sent.length) back.push(...(await edge.next('DELIVER')).envelopes);
  assert.deepEqual(sorted(back), sorted(sent));
  assert.ok(acknowledge);

  net.sites['b.test'].site.edges.enrolled = {};
  net.sites['b.test'].write();
  later.child.kill('SIGHUP');
  await later.until('reloaded');
  await assert.rejects(() => edge.until(() => undefined), /POLICY|complete|closed/);
  assert.equal(await later.end(), 0);
});

test('who is online at one homeserver is seen at the other', { timeout: 20000 }, async (t) => {
  const net = await network(['a.test', 'b.test']);
  t.after(net.remove);
  const [a, b] = ['a.test', 'b.test'].map((domain) => served(t, net, domain));
  await Promise.all([a.start(), b.start()]);
  const [edgeA, edgeB] = [await new ScriptedEdge(net).connect(net.sites['a.test']), await new ScriptedEdge(net).connect(net.sites['b.test'])];
  const key = keys.random(32);
  const viewing = new Viewing();
  viewing.link();
  const watch = async (found) => {
    const { message } = await edgeB.next('SHOWN');
    viewing.receive(decodeMessage(message), Date.now() / 1000);
    const { filter } = viewing;
    return filter && has(filter.bits, place(filter.key, tagOf(key, filter.epoch, 'b.test'), filter.class)) === found;
  };
  edgeB.link.say('WATCH', { domain: 'a.test' });
  while (!await watch(false));
  const now = Math.floor(Date.now() / 1800000);
  for (const epoch of [now, now + 1]) edgeA.link.say('ANNOUNCE', { number: 1, epoch, tags: [['b.test', tagOf(key, epoch, 'b.test')]] });
  while (!await watch(true));
  edgeA.link.say('RETRACT', { number: 1 });
  while (!await watch(false));
});

test('who is not trusted any more is not dialled again', { timeout: 20000 }, async (t) => {
  const net = await network(['a.test', 'b.test']);
  t.after(net.remove);
  const calls = [];
  const listener = createServer((socket) => { calls.push(home.level('b.test')); socket.destroy(); }); // b.test, which hangs up
  t.after(() => listener.close());
  await new Promise((resolve) => { listener.listen(net.sites['b.test'].ports[0], '127.0.0.1', resolve); });
  const { path, site } = net.sites['a.test'];
  let failed;
  const pausing = new Promise((resolve) => { failed = resolve; });
  const home = served(t, net, 'a.test', { log: (event) => { if (event === 'attempt' && calls.length === 2) setImmediate(failed); } });
  await home.start();
  const edge = await new ScriptedEdge(net).connect(net.sites['a.test']);
  await edge.submit(envelope(device, 'bob', 'b.test'));
  await pausing; // the second attempt has failed
  site.peers['b.test'].level = 'none';
  net.sites['a.test'].write();
  home.reload(readSite(path));
  await new Promise((resolve) => { setTimeout(resolve, 2000); }); // longer than the pause that has begun
  assert.ok(!calls.includes('none'));
  assert.equal(home.store.queuedInAll().envelopes, 1);
});
