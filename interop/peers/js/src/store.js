// What outlives the process: mailboxes, queues, cursors, pins. SQLite, written through to the disk before a call returns.
//
// In: facts to keep. Out: the same facts, after a crash too. Never: a rule of the protocol; half of a transaction.

import { DatabaseSync } from 'node:sqlite';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS mailbox (id BLOB PRIMARY KEY, registration BLOB NOT NULL, claimed INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS mail (seq INTEGER PRIMARY KEY AUTOINCREMENT, mailbox BLOB NOT NULL, id BLOB NOT NULL, expiry INTEGER NOT NULL,
  class INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS mail_order ON mail (mailbox, class, seq);
CREATE TABLE IF NOT EXISTS known (id BLOB NOT NULL, expiry INTEGER NOT NULL, PRIMARY KEY (id, expiry)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, class INTEGER NOT NULL, expiry INTEGER NOT NULL,
  id BLOB NOT NULL, bytes BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS queue_order ON queue (domain, class, seq);
CREATE TABLE IF NOT EXISTS stream (peer TEXT NOT NULL, id BLOB NOT NULL, cursor INTEGER NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (peer, id));
CREATE TABLE IF NOT EXISTS refusal (peer TEXT NOT NULL, id BLOB NOT NULL, number INTEGER NOT NULL, code INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS refusal_of ON refusal (peer, id, number);
CREATE TABLE IF NOT EXISTS pin (domain TEXT PRIMARY KEY, fingerprint BLOB NOT NULL, sequence INTEGER NOT NULL,
  next BLOB, ready INTEGER, next_sequence INTEGER, ends INTEGER, seen INTEGER, quarantine BLOB);
`;
const STREAMS_KEPT = 8;
const REFUSALS_KEPT = 1024;

export class Store {
  #statements = new Map();

  /** @param {string} path of the database; `:memory:` for one that outlives nothing */
  constructor(path) {
    this.db = new DatabaseSync(path);
    this.db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;');
    this.db.exec(SCHEMA);
  }

  #sql(text) {
    if (!this.#statements.has(text)) this.#statements.set(text, this.db.prepare(text));
    return this.#statements.get(text);
  }

  run(text, ...values) { return this.#sql(text).run(...values); }
  get(text, ...values) { return buffers(this.#sql(text).get(...values)); }
  all(text, ...values) { return this.#sql(text).all(...values).map(buffers); }

  /** All of `work`, on the disk, or nothing of it. */
  transaction(work) {
    this.db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.db.exec('COMMIT');
      return result;
    } catch (error) {
      this.db.exec('ROLLBACK');
      throw error;
    }
  }

  close() { this.db.close(); }

  // --- cursors ---

  /** What is stored of a peer's stream: the cursor, and the refusals that it may not have heard of. */
  cursor(peer, id) {
    const found = this.get('SELECT cursor FROM stream WHERE peer = ? AND id = ?', peer, id);
    if (!found) return { cursor: 0, refusals: [] };
    const rows = this.all('SELECT number, code, reason FROM refusal WHERE peer = ? AND id = ? AND number > ? ORDER BY number',
      peer, id, found.cursor - REFUSALS_KEPT);
    return { cursor: found.cursor, refusals: rows.map((r) => [r.number, r.code, r.reason]) };
  }

  setCursor(peer, id, cursor, refusals) {
    const { last } = this.get('SELECT coalesce(max(used), 0) AS last FROM stream WHERE peer = ?', peer);
    this.run('INSERT INTO stream VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET cursor = excluded.cursor, used = excluded.used', peer, id, cursor, last + 1);
    for (const [number, code, reason] of refusals) this.run('INSERT INTO refusal VALUES (?, ?, ?, ?, ?)', peer, id, number, code, reason);
    this.run('DELETE FROM refusal WHERE peer = ? AND id = ? AND number <= ?', peer, id, cursor - REFUSALS_KEPT);
    for (const old of this.all('SELECT id FROM stream WHERE peer = ? ORDER BY used DESC LIMIT -1 OFFSET ?', peer, STREAMS_KEPT)) {
      this.run('DELETE FROM stream WHERE peer = ? AND id = ?', peer, old.id);
      this.run('DELETE FROM refusal WHERE peer = ? AND id = ?', peer, old.id);
    }
  }

  // --- mailboxes ---

  registration(mailbox) { return this.get('SELECT registration FROM mailbox WHERE id = ?', mailbox)?.registration; }

  register(mailbox, registration, now) {
    this.run('INSERT INTO mailbox VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET registration = excluded.registration, claimed = excluded.claimed',
      mailbox, registration, now);
  }

  room(mailbox) {
    return this.get('SELECT count(*) AS envelopes, coalesce(sum(length(bytes)), 0) AS bytes FROM mail WHERE mailbox = ?', mailbox);
  }

  known(id, expiry) { return this.get('SELECT 1 FROM known WHERE id = ? AND expiry = ?', id, expiry) !== undefined; }

  deposit({ mailbox, id, expiry, urgency, bytes }) {
    this.run('INSERT INTO known VALUES (?, ?)', id, expiry);
    this.run('INSERT INTO mail (mailbox, id, expiry, class, bytes) VALUES (?, ?, ?, ?, ?)', mailbox, id, expiry, urgency, bytes);
  }

  /** What a mailbox holds of a class, after `seq`, in the order in which it was stored. */
  mail(mailbox, urgency, seq, most) {
    return this.all('SELECT seq, id, bytes FROM mail WHERE mailbox = ? AND class = ? AND seq > ? ORDER BY seq LIMIT ?', mailbox, urgency, seq, most);
  }

  remove(seqs) {
    this.transaction(() => seqs.forEach((seq) => this.run('DELETE FROM mail WHERE seq = ?', seq)));
  }

  // --- queues ---

  queued(domain) {
    return this.get('SELECT count(*) AS envelopes, coalesce(sum(length(bytes)), 0) AS bytes FROM queue WHERE domain = ?', domain);
  }

  queuedInAll() {
    return this.get('SELECT count(*) AS envelopes, coalesce(sum(length(bytes)), 0) AS bytes, count(DISTINCT domain) AS domains FROM queue');
  }

  queuedDomains() { return this.all('SELECT DISTINCT domain FROM queue').map((row) => row.domain); }

  enqueue(domain, { id, expiry, urgency, bytes }) {
    return Number(this.run('INSERT INTO queue (domain, class, expiry, id, bytes) VALUES (?, ?, ?, ?, ?)', domain, urgency, expiry, id, bytes).lastInsertRowid);
  }

  queue(domain, urgency, seq, most) {
    return this.all('SELECT seq, id, expiry, bytes FROM queue WHERE domain = ? AND class = ? AND seq > ? ORDER BY seq LIMIT ?', domain, urgency, seq, most);
  }

  dequeue(seqs) {
    this.transaction(() => seqs.forEach((seq) => this.run('DELETE FROM queue WHERE seq = ?', seq)));
  }

  // --- what is over ---

  /** Delete what has expired; gives what was deleted from queues. */
  sweep(now) {
    return this.transaction(() => {
      const gone = this.all('SELECT seq, domain, id FROM queue WHERE expiry < ?', now);
      this.run('DELETE FROM queue WHERE expiry < ?', now);
      this.run('DELETE FROM mail WHERE expiry < ?', now - 300);
      this.run('DELETE FROM known WHERE expiry < ?', now - 300);
      for (const { id } of this.all('SELECT id FROM mailbox WHERE claimed < ?', now - 7776000)) {
        this.run('DELETE FROM mail WHERE mailbox = ?', id);
        this.run('DELETE FROM mailbox WHERE id = ?', id);
      }
      return gone;
    });
  }
}

/** SQLite gives Uint8Array; everything here works with Buffer. */
function buffers(row) {
  if (row === undefined) return undefined;
  for (const [name, value] of Object.entries(row)) if (value instanceof Uint8Array) row[name] = Buffer.from(value.buffer, value.byteOffset, value.length);
  return row;
}
