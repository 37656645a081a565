// A self-signed ML-DSA-65 certificate from a seed, as PEM: DER by hand, for tests only.

import crypto from 'node:crypto';

const der = (tag, ...parts) => {
  const body = Buffer.concat(parts);
  const size = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
};
const ALGORITHM = Buffer.from('300b0609608648016503040312', 'hex');
const pem = (name, bytes) => `-----BEGIN ${name}-----\n${bytes.toString('base64').match(/.{1,64}/g).join('\n')}\n-----END ${name}-----\n`;

/** @returns {{certificate: string, key: string}} */
export function selfSigned(seed, name) {
  const pkcs8 = Buffer.concat([Buffer.from('3034020100300b060960864801650304031204228020', 'hex'), seed]);
  const key = crypto.createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  const spki = crypto.createPublicKey(key).export({ format: 'der', type: 'spki' });
  const subject = der(0x30, der(0x31, der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(name)))));
  const dates = der(0x30, der(0x17, Buffer.from('250101000000Z')), der(0x17, Buffer.from('450101000000Z')));
  const alternative = der(0x30, Buffer.from('0603551d11', 'hex'), der(0x04, der(0x30, der(0x82, Buffer.from(name)))));
  const body = der(0x30, Buffer.from('a003020102020101', 'hex'), ALGORITHM, subject, dates, subject, spki, der(0xa3, der(0x30, alternative)));
  const signature = crypto.sign(null, body, key);
  const certificate = der(0x30, body, ALGORITHM, der(0x03, Buffer.from([0]), signature));
  return { certificate: pem('CERTIFICATE', certificate), key: pem('PRIVATE KEY', pkcs8) };
}
