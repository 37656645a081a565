// The constructions of spec/crypto.md: composite signatures, X-Wing, derivations, codes, digests, keys of certificates.
//
// In: keys, seeds, messages, labels. Out: signatures, fingerprints, shared secrets, codes. All primitives are OpenSSL's, through node:crypto.
// Never: half of a composite signature; a comparison of codes whose time depends on where they differ.

import crypto from 'node:crypto';
import { LABELS, ProtocolError, badMessage } from './codes.js';

export const PUBLIC_KEY = 1984;
export const SIGNATURE = 3373;
export const MAILBOX_KEY = 1216;
const [MLDSA_PUBLIC, MLDSA_SIGNATURE, MLKEM_PUBLIC, MLKEM_CIPHERTEXT] = [1952, 3309, 1184, 1088];

export const random = (n) => crypto.randomBytes(n);
export const label = (name) => Buffer.from(LABELS[name], 'latin1');
export const sha256 = (...parts) => digest('sha256', parts);
const digest = (name, parts) => {
  const hash = crypto.createHash(name);
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export const u16 = (n) => { const b = Buffer.alloc(2); b.writeUInt16BE(n); return b; };
export const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b; };
export const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; };
export const framed = (...parts) => Buffer.concat(parts.flatMap((part) => [u64(part.length), part]));
export const hmac = (key, ...parts) => {
  const mac = crypto.createHmac('sha256', key);
  for (const part of parts) mac.update(part);
  return mac.digest();
};
export const hkdf = (secret, salt, info, n) => Buffer.from(crypto.hkdfSync('sha256', secret, salt, info, n));
/** Whether a code is the right one, in constant time. */
export const sameCode = (a, b) => a.length === b.length && crypto.timingSafeEqual(a, b);

// --- raw keys in the DER that OpenSSL reads: everything before the key itself is fixed ---

const PKCS8 = {
  'ml-dsa-65': '3034020100300b060960864801650304031204228020',
  ed25519: '302e020100300506032b657004220420',
  x25519: '302e020100300506032b656e04220420',
  'ml-kem-768': '3054020100300b060960864801650304040204428040',
};
const SPKI = {
  'ml-dsa-65': '308207b2300b0609608648016503040312038207a100',
  ed25519: '302a300506032b6570032100',
  x25519: '302a300506032b656e032100',
  'ml-kem-768': '308204b2300b0609608648016503040402038204a100',
};
const privateKey = (kind, seed) => crypto.createPrivateKey({ key: Buffer.concat([Buffer.from(PKCS8[kind], 'hex'), seed]), format: 'der', type: 'pkcs8' });
const publicKey = (kind, raw) => crypto.createPublicKey({ key: Buffer.concat([Buffer.from(SPKI[kind], 'hex'), raw]), format: 'der', type: 'spki' });
const rawPublic = (kind, key) => crypto.createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(SPKI[kind].length / 2);

// --- identities ---

/** An identity from its two seeds: `public` (1984 bytes), `fingerprint`, and `sign(message, context)`. */
export function identity(mlDsaSeed, ed25519Seed) {
  const first = privateKey('ml-dsa-65', mlDsaSeed);
  const second = privateKey('ed25519', ed25519Seed);
  const shown = Buffer.concat([rawPublic('ml-dsa-65', first), rawPublic('ed25519', second)]);
  return Object.freeze({
    public: shown,
    fingerprint: fingerprint(shown),
    sign(message, context) {
      const signed = composite(message, context);
      return Buffer.concat([crypto.sign(null, signed, { key: first, context: label('COMPOSITE_LABEL') }), crypto.sign(null, signed, second)]);
    },
  });
}

export const fingerprint = (identityKey) => sha256(label('IDENTITY'), identityKey);

function composite(message, context) {
  if (context.length > 255) throw new TypeError('a context has at most 255 bytes');
  return Buffer.concat([label('COMPOSITE_PREFIX'), label('COMPOSITE_LABEL'), Buffer.from([context.length]), context, digest('sha512', [message])]);
}

/** Refuses unless both halves hold. */
export function verify(identityKey, message, context, signature) {
  const wrong = () => new ProtocolError('BadSignature', 'BAD_SIGNATURE', 'the signature is not right');
  if (identityKey.length !== PUBLIC_KEY || signature.length !== SIGNATURE) throw wrong();
  const signed = composite(message, context);
  const holds = (key, half, options) => {
    try {
      return crypto.verify(null, signed, { key: publicKey(...key), ...options }, half);
    } catch {
      return false;
    }
  };
  const first = holds(['ml-dsa-65', identityKey.subarray(0, MLDSA_PUBLIC)], signature.subarray(0, MLDSA_SIGNATURE), { context: label('COMPOSITE_LABEL') });
  const second = holds(['ed25519', identityKey.subarray(MLDSA_PUBLIC)], signature.subarray(MLDSA_SIGNATURE), {});
  if (!(first && second)) throw wrong();
}

// --- mailbox keys: X-Wing ---

export const mailboxId = (key) => sha256(label('MAILBOX'), key);

const combine = (ssM, ssX, ctX, pkX) => digest('sha3-256', [ssM, ssX, ctX, pkX, label('XWING')]);

function exchange(privateX, rawPeer) {
  let secret;
  try {
    secret = crypto.diffieHellman({ privateKey: privateX, publicKey: publicKey('x25519', rawPeer) });
  } catch {
    throw badMessage('X25519 gives nothing'); // OpenSSL refuses a result of zeros
  }
  if (secret.every((b) => b === 0)) throw badMessage('X25519 gives nothing');
  return secret;
}

/** A fresh secret for the holder of a mailbox key, and what carries it. */
export function encapsulate(mailboxKey) {
  if (mailboxKey.length !== MAILBOX_KEY) throw badMessage('a mailbox key has 1216 bytes');
  const pkX = mailboxKey.subarray(MLKEM_PUBLIC);
  const ephemeral = crypto.generateKeyPairSync('x25519').privateKey;
  const ssX = exchange(ephemeral, pkX);
  let inner;
  try {
    inner = crypto.encapsulate(publicKey('ml-kem-768', mailboxKey.subarray(0, MLKEM_PUBLIC)));
  } catch {
    throw badMessage('not an ML-KEM-768 key');
  }
  const ctX = rawPublic('x25519', ephemeral);
  return { ciphertext: Buffer.concat([inner.ciphertext, ctX]), shared: combine(inner.sharedKey, ssX, ctX, pkX) };
}

/** A device's mailbox key from its seed; homeservers never have one, but their tests play devices. */
export function mailbox(seed) {
  const expanded = crypto.createHash('shake256', { outputLength: 96 }).update(seed).digest();
  const decapsulator = privateKey('ml-kem-768', expanded.subarray(0, 64));
  const privateX = privateKey('x25519', expanded.subarray(64));
  const pkX = rawPublic('x25519', privateX);
  const shown = Buffer.concat([rawPublic('ml-kem-768', decapsulator), pkX]);
  return Object.freeze({
    public: shown,
    id: mailboxId(shown),
    open(ciphertext) {
      if (ciphertext.length !== MLKEM_CIPHERTEXT + 32) throw badMessage('a ciphertext has 1120 bytes');
      const ctX = ciphertext.subarray(MLKEM_CIPHERTEXT);
      const ssX = exchange(privateX, ctX);
      return combine(crypto.decapsulate(decapsulator, ciphertext.subarray(0, MLKEM_CIPHERTEXT)), ssX, ctX, pkX);
    },
  });
}

// --- TLS keys ---

/** The DER of a certificate's key, its digest, and whether the key is of the kind that the profiles want. */
export function certificateKey(der) {
  try {
    const key = new crypto.X509Certificate(der).publicKey;
    const spki = key.export({ format: 'der', type: 'spki' });
    return { spki, sha256: sha256(spki), mlDsa: key.asymmetricKeyType === 'ml-dsa-65' };
  } catch {
    throw badMessage('no key can be read from the certificate');
  }
}

/** The digest of the TLS key that a seed gives. */
export function tlsKeyDigest(seed) {
  return sha256(crypto.createPublicKey(privateKey('ml-dsa-65', seed)).export({ format: 'der', type: 'spki' }));
}

// --- presence: one block of AES-256 ---

export function block(key, tag) {
  const cipher = crypto.createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  return cipher.update(tag);
}
