// Code points and labels, as spec/registries has them (a test compares them).
//
// In: nothing. Out: numbers and labels by name, and ProtocolError, the one error of everything that reads bytes from outside.
// Never: a code point that the registries do not have.

export const TYPES = Object.freeze({
  HELLO: 1, AUTH: 2, REFUSE: 3,
  OPEN: 0x10, BATCH: 0x11, ACK: 0x12, CLOSE: 0x13, PING: 0x14, PONG: 0x15,
  CLAIM: 0x20, CHALLENGE: 0x21, PROOF: 0x22, CLAIMED: 0x23, NOT_CLAIMED: 0x24, ACKNOWLEDGE: 0x25, RELEASE: 0x26, RECEIPT: 0x27,
  ANNOUNCE: 0x28, RETRACT: 0x29, WATCH: 0x2a, UNWATCH: 0x2b, SHOWN: 0x2c,
  WELCOME: 0x40, SUBMIT: 0x41, SUBMITTED: 0x42, DELIVER: 0x43,
  PRESENCE_RESUME: 0x50, PRESENCE_REQUEST: 0x51, PRESENCE_SNAPSHOT: 0x52, PRESENCE_DELTA: 0x53, PRESENCE_WITHDRAW: 0x54,
});

export const CODES = Object.freeze({
  NONE: 0, MALFORMED: 1, UNEXPECTED: 2, UNSUPPORTED_VERSION: 3, WRONG_NAME: 4, POLICY: 5, BUSY: 6, DISCOVERY: 7, KEY_MISMATCH: 8,
  IDENTITY_MISMATCH: 9, BAD_SIGNATURE: 10, TIMEOUT: 11, SHUTTING_DOWN: 12, REPLACED: 13, CHANNEL: 14,
  UNDELIVERABLE: 32, EXPIRED: 33, OVERLOADED: 34, UNKNOWN_DOMAIN: 35, BAD_PROOF: 36,
  BAD_FILTER: 64, WRONG_EPOCH: 65, OUT_OF_STEP: 66,
});

export const NAMES = Object.freeze(Object.fromEntries(Object.entries(CODES).map(([name, value]) => [value, name])));

export const LABELS = Object.freeze({
  ROOT: 'volly-pq-signaling-v1',
  EXPORTER: 'EXPORTER-volly-fed-s2s-auth-v1',
  AUTH: 'volly-fed s2s hybrid authentication v1\0',
  AUTH_CONTEXT: 'volly-fed/s2s-auth/v1',
  HELLO_HASH: 'volly-fed hello v1\0',
  IDENTITY: 'volly-fed identity v1\0',
  CONTINUITY_OLD: 'volly-fed identity continuity, by the old key v1\0',
  CONTINUITY_NEW: 'volly-fed identity continuity, by the new key v1\0',
  CONTINUITY_CONTEXT: 'volly-fed/continuity/v1',
  MAILBOX: 'volly-fed mailbox v1\0',
  CLAIM: 'volly-fed mailbox claim v1\0',
  CLAIM_KEY: 'volly-pq-signaling-v1/claim',
  ACKNOWLEDGE_KEY: 'volly-pq-signaling-v1/acknowledge',
  ACKNOWLEDGE: 'volly-fed acknowledge v1\0',
  CAPABILITY: 'volly-fed capability v1\0',
  PRESENCE: 'volly/presence/v1',
  PRESENCE_FILTER: 'volly-fed presence filter v1\0',
  COMPOSITE_PREFIX: 'CompositeAlgorithmSignatures2025',
  COMPOSITE_LABEL: 'COMPSIG-MLDSA65-Ed25519-SHA512',
  XWING: '\\.//^\\',
});

/**
 * Something from outside is not as it should be. `kind` is the layer: BadMessage (bytes), BadSignature, RemoteError (a rule), Refused (the
 * other end refuses); `code` is the name of the error code that goes into REFUSE or CLOSE.
 */
export class ProtocolError extends Error {
  constructor(kind, code, reason, retryAfter = 0) {
    super(reason);
    this.kind = kind;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export const badMessage = (reason, code = 'MALFORMED') => new ProtocolError('BadMessage', code, reason);
export const broken = (code, reason, retryAfter = 0) => new ProtocolError('RemoteError', code, reason, retryAfter);
