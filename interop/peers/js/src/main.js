// The program: node src/main.js --site site.json (interop/README.md, the contract).
//
// In: a site, SIGHUP (read it again), SIGTERM (close every link in order, end). Out: a line of JSON for each event on standard output, notes on
// standard error. Never: a key, mailbox, capability or body in either.

import { parseArgs } from 'node:util';
import { Homeserver } from './homeserver.js';
import { readSite } from './site.js';

const { values } = parseArgs({ options: { site: { type: 'string' } } });
const tell = (event, more = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
const note = (event, more = {}) => process.stderr.write(`${new Date().toISOString()} ${event} ${JSON.stringify(more)}\n`);

const home = new Homeserver(readSite(values.site), { log: note });
await home.start();
process.on('SIGHUP', () => {
  try {
    home.reload(readSite(values.site));
    tell('reloaded');
  } catch (error) {
    note('not reloaded', { reason: error.message });
  }
});
process.once('SIGTERM', async () => {
  await home.stop();
  tell('stopped');
  process.exit(0);
});
tell('ready', home.ports);
