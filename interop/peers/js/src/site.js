// site.json and the files that it names (interop/README.md, the contract).
//
// In: a path. Out: who this homeserver is, where it listens, whom it knows. Never: half of a site; an error in it leaves the former one.

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { certificateKey, identity } from './crypto.js';
import { Policy } from './trust.js';
import { X509Certificate } from 'node:crypto';

export function readSite(path) {
  const site = JSON.parse(readFileSync(path, 'utf8'));
  const folder = dirname(resolve(path));
  const file = (name) => readFileSync(resolve(folder, name), 'utf8');
  const bytes = (text) => Buffer.from(text, 'hex');
  const peers = Object.entries(site.peers ?? {});
  const certificate = file(site.tls.certificate);
  const chosen = (name) => Object.fromEntries(peers.filter(([, peer]) => peer[name]).map(([domain, peer]) => [domain, peer[name]]));
  return {
    own: site.domain,
    host: site.host,
    doors: { federation: site.federation, edges: site.edges },
    enrolled: new Map(Object.entries(site.edges?.enrolled ?? {}).map(([name, print]) => [name, bytes(print)])),
    identity: identity(bytes(site.identity.ml_dsa_65), bytes(site.identity.ed25519)),
    credentials: { certificate, key: file(site.tls.key), spki: certificateKey(new X509Certificate(certificate).raw).sha256 },
    policy: new Policy({ default: site.default_level, levels: chosen('level'), presence: chosen('presence') }),
    recordsOf: new Map(peers.filter(([, peer]) => peer.identity && peer.targets).map(([domain, peer]) => [domain, {
      identities: [peer.identity].flat().map(bytes),
      targets: peer.targets.map((target) => ({ ...target, tls: target.tls.map(bytes) })),
    }])),
    data: resolve(folder, site.data),
  };
}
