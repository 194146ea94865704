/** A certificate of the host's own is enough to try it from another machine. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openBrowser } from './browser.mjs';
import { selfSigned, startHost } from './host.mjs';
import { everyoneSeesAndHears } from './media.mjs';

// The tests' own requests: nobody vouches for the certificate.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';

const NAMES = ['Ada', 'Grace'];

test('two people over HTTPS with a certificate made at the start', { timeout: 60_000 }, async (t) => {
  const host = await startHost(t, { flags: selfSigned, scheme: 'https' });
  assert.match(host.log, /([0-9A-F]{2}:){31}[0-9A-F]{2}/, 'the fingerprint is told');
  const browser = await openBrowser(t, { ignoreHTTPSErrors: true });
  const pages = [];
  for (const name of NAMES) pages.push(await enter(browser, host.url, { room: 'attic', name }));
  await everyoneSeesAndHears(pages, NAMES);
  assert.equal(await host.stop(), 0, host.log);
});
