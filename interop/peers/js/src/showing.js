// What one peer is shown: a filter, and the steps that follow it, without I/O (spec/presence.md, Showing; Steps; Why dummies leave as users do).
//
// In: the tags that the peer may see, who comes and goes, the peer's questions, time (seconds of any clock). Out: messages from `next`.
// Never: a tag that was not given; one key for two filters; a step that tells how many users came or went.

import { broken } from './codes.js';
import { random } from './crypto.js';
import { CLASSES, bitsOf, encodeChanges, filterId, place, sendable } from './filter.js';
import { piecesOf } from './viewing.js';

const TICK = 2;
const PROMPT = 0.005;
const PROMPTS = 16; // steps in a tick
const AGAIN = 10;
const OVERDUE = 60;
const HISTORY = { steps: 32, bytes: 65536 };
const EACH = { tick: 4, prompt: 2 }; // tags that come and go with a step, at least

const ladder = (least) => {
  for (let base = 1; ; base *= 2) {
    if (base >= least) return base;
    if (base > 1 && base * 1.5 >= least) return base * 1.5;
  }
};

export class Showing {
  state = 'AWAY';
  #epoch = 0;
  #wanted = null; // tags (hex) that the peer may see now; null: nobody
  #filter = null;
  #lastClass = 0;
  #owes = null; // 'filter', 'withdrawal' or null
  #fresh = false; // whether the filter has never been sent
  #asked = false;
  #queue = []; // what leaves before anything else
  #sentAt = -Infinity; // when a filter was sent last
  #tickAt = Infinity;
  #stepAt = -Infinity;
  #prompts = { tick: -1, steps: 0 };

  constructor(pace) { this.pace = pace; }

  // --- who is online ---

  /** From now on the peer is shown these tags (hex), of this epoch, in another filter. */
  show(epoch, tags) {
    this.#epoch = epoch;
    this.#wanted = new Set(tags);
    this.#redraw();
  }

  withdraw() {
    this.#wanted = null;
    this.#filter = null;
    this.#queue = [];
    this.#owes = this.state === 'FOLLOWING' ? 'withdrawal' : null;
    if (this.state === 'FOLLOWING') this.state = 'OWING';
  }

  #redraw() {
    this.#filter = null;
    this.#queue = [];
    if (this.state === 'FOLLOWING' || this.state === 'OWING') {
      this.state = 'OWING';
      this.#owes = 'filter';
    }
  }

  online(tag) {
    this.#wanted?.add(tag);
    this.#turn(tag);
  }

  offline(tag) {
    this.#wanted?.delete(tag);
    this.#turn(tag);
  }

  #turn(tag) {
    const filter = this.#filter;
    if (!filter) return;
    if (filter.users.has(tag) === this.#wanted.has(tag)) filter.turned.delete(tag);
    else filter.turned.add(tag);
    const most = CLASSES[filter.class].tags;
    if (this.#wanted.size > most) this.#redraw();
    else if (this.state === 'AWAY' && filter.turned.size > most / 4) this.#filter = null;
  }

  // --- the link ---

  link() {
    this.state = 'SILENT';
    this.#asked = false;
    this.#owes = null;
    this.#queue = [];
  }

  lose() { this.state = 'AWAY'; }

  receive(message, now) {
    if (this.state === 'AWAY' || !['PRESENCE_RESUME', 'PRESENCE_REQUEST'].includes(message.type)) throw broken('UNEXPECTED', 'not a question');
    if (message.type === 'PRESENCE_RESUME' && this.#asked) throw broken('UNEXPECTED', 'PRESENCE_RESUME is not the first question');
    this.#asked = true;
    this.state = 'OWING';
    this.#queue = [];
    if (this.pace === 'tick' && now - this.#tickAt > OVERDUE) this.#filter = null;
    if (message.type === 'PRESENCE_REQUEST') this.#owes = 'filter';
    else if (this.#wanted === null) this.#owes = 'withdrawal';
    else this.#resume(message);
  }

  #resume({ filter: id, sequence }) {
    const filter = this.#filter;
    this.#owes = 'filter';
    if (!filter?.id.equals(id)) return;
    if (sequence > filter.sequence) {
      this.#filter = null;
      return;
    }
    const missed = filter.history.filter((step) => step.sequence > sequence);
    if (missed.length !== filter.sequence - Number(sequence)) return;
    this.#owes = null;
    this.#queue = missed.map((step) => ['PRESENCE_DELTA', step]);
  }

  // --- what leaves ---

  /** The next message that may leave now, or null. */
  next(now) {
    if (this.state === 'AWAY' || this.state === 'SILENT') return null;
    if (this.#queue.length) return this.#leave(this.#queue.shift());
    if (this.#owes === 'withdrawal') {
      this.#owes = null;
      return ['PRESENCE_WITHDRAW', {}];
    }
    if (this.#wanted === null) return null;
    if (this.#owes === 'filter') return this.#sendFilter(now);
    return this.#due(now) ? this.#step(now) : null;
  }

  #leave(message) {
    this.state = 'FOLLOWING';
    return message;
  }

  #sendFilter(now) {
    if (!this.#filter) this.#draw();
    if (!this.#fresh && now - this.#sentAt < AGAIN) return null;
    this.#owes = null;
    this.#fresh = false;
    this.#sentAt = now;
    this.#tickAt = now + TICK;
    this.#queue = [...piecesOf({ ...this.#filter, bits: Buffer.from(this.#filter.bits) })];
    return this.#leave(this.#queue.shift());
  }

  #due(now) {
    if (!this.#filter) return false;
    if (this.pace === 'tick') return now >= this.#tickAt;
    if (!this.#filter.turned.size || now - this.#stepAt < PROMPT - 1e-9) return false;
    const tick = Math.floor(now / TICK);
    if (this.#prompts.tick !== tick) this.#prompts = { tick, steps: 0 };
    return this.#prompts.steps < PROMPTS;
  }

  /** When `next` is to be called again, if nothing else happens. */
  wakeAt(now) {
    if (this.state === 'AWAY' || this.state === 'SILENT' || this.#wanted === null) return Infinity;
    if (this.#queue.length) return now;
    if (this.#owes) return this.#fresh || !this.#filter ? now : this.#sentAt + AGAIN;
    if (this.pace === 'tick') return this.#tickAt;
    if (!this.#filter?.turned.size) return Infinity;
    return this.#prompts.steps < PROMPTS ? this.#stepAt + PROMPT : (Math.floor(now / TICK) + 1) * TICK;
  }

  // --- the filter ---

  #draw() {
    const users = this.#wanted.size;
    let n = CLASSES.findIndex(({ tags }) => users <= (tags * 7) / 8);
    if (n < 0) n = CLASSES.length - 1;
    if (n < this.#lastClass && users > (CLASSES[this.#lastClass - 1].tags * 5) / 8) n = this.#lastClass;
    this.#lastClass = n;
    const { tags, bits, bytes } = CLASSES[n];
    const key = random(32);
    const filter = {
      key, id: filterId(key), epoch: this.#epoch, class: n, sequence: 0, bits: Buffer.alloc(bytes), counts: new Uint8Array(bits), history: [],
      users: new Map(), turned: new Set(), oldDummies: [], recentDummies: [], // newest last
    };
    for (const tag of this.#wanted) {
      if (filter.users.size === tags) break; // 1 048 576: more are never shown
      const entry = { at: place(key, Buffer.from(tag, 'hex'), n), old: true };
      filter.users.set(tag, entry);
      add(filter, entry);
    }
    for (let missing = tags - filter.users.size; missing > 0; missing -= 1) {
      const entry = { at: bitsOf(random(16), n) };
      (missing > tags / 16 ? filter.oldDummies : filter.recentDummies).push(entry);
      add(filter, entry);
    }
    filter.counts.forEach((count, p) => { if (count) filter.bits[p >> 3] |= 1 << (p & 7); });
    this.#filter = filter;
    this.#fresh = true;
  }

  /** One step further: as many tags come as go. */
  #step(now) {
    const filter = this.#filter;
    const changed = new Map(); // of each bit that was touched: how it was
    const touch = (change) => (entry) => {
      for (const p of entry.at) if (!changed.has(p)) changed.set(p, filter.counts[p] > 0);
      change(filter, entry);
    };
    const [coming, going] = [[], []];
    for (const tag of filter.turned) (this.#wanted.has(tag) ? coming : going).push(tag);
    filter.turned.clear();
    const each = ladder(Math.max(coming.length, going.length, EACH[this.pace]));
    const leaving = going.map((tag) => filter.users.get(tag));
    going.forEach((tag) => filter.users.delete(tag));
    leaving.push(...leavingDummies(filter, leaving, each));
    leaving.forEach(touch(remove));
    for (const tag of coming) {
      const entry = { at: place(filter.key, Buffer.from(tag, 'hex'), filter.class), old: false };
      filter.users.set(tag, entry);
      touch(add)(entry);
    }
    const held = filter.users.size + filter.oldDummies.length + filter.recentDummies.length;
    for (let missing = CLASSES[filter.class].tags - held; missing > 0; missing -= 1) {
      const entry = { at: bitsOf(random(16), filter.class) };
      filter.recentDummies.push(entry);
      touch(add)(entry);
    }
    const positions = [...changed].filter(([p, was]) => was !== filter.counts[p] > 0).map(([p]) => p).sort((a, b) => a - b);
    for (const p of positions) filter.bits[p >> 3] ^= 1 << (p & 7);
    filter.sequence += 1;
    this.#stepAt = now;
    this.#prompts.steps += 1;
    while (this.#tickAt <= now) this.#tickAt += TICK;
    return this.#tell(positions);
  }

  #tell(positions) {
    const filter = this.#filter;
    const changes = encodeChanges(positions, filter.class);
    if (!sendable(changes, filter.class)) {
      filter.history = [];
      this.#queue = [...piecesOf({ ...filter, bits: Buffer.from(filter.bits) })];
      return this.#leave(this.#queue.shift());
    }
    const step = { filter: filter.id, sequence: filter.sequence, changes };
    filter.history.push(step);
    while (filter.history.length > HISTORY.steps || filter.history.reduce((sum, one) => sum + one.changes.length, 0) > HISTORY.bytes) filter.history.shift();
    return this.#leave(['PRESENCE_DELTA', step]);
  }
}

function add(filter, { at }) {
  for (const p of at) filter.counts[p] += 1;
}

function remove(filter, { at }) {
  for (const p of at) filter.counts[p] -= 1;
}

/** Which dummies go, so that what goes looks the same however many users are among it. */
function leavingDummies(filter, users, each) {
  const { oldDummies, recentDummies } = filter;
  let old = -users.filter((entry) => entry.old).length;
  for (let i = 0; i < each; i += 1) if (Math.random() < 1 / 16) old += 1;
  const gone = [];
  for (let missing = each - users.length; missing > 0 && oldDummies.length + recentDummies.length > 0; missing -= 1) {
    if ((old > 0 && oldDummies.length) || !recentDummies.length) {
      gone.push(...oldDummies.splice(Math.floor(Math.random() * oldDummies.length), 1));
      old -= 1;
    } else {
      const r = Math.min(recentDummies.length, Math.floor((recentDummies.length + 1) ** Math.random())); // the r-th newest, in proportion to ln((r+1)/r)
      gone.push(...recentDummies.splice(recentDummies.length - r, 1));
    }
  }
  return gone;
}
