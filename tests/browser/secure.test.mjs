/** Media is encrypted with what both sides can do best, and only with the peer that signalling named. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openBrowser, openPage } from './browser.mjs';
import { cmOnly, startHost } from './host.mjs';
import { everyoneSeesAndHears } from './media.mjs';
import { until } from './until.mjs';

const NAMES = ['Ada', 'Grace'];

for (const [flags, cipher, words] of [
  [[], /^(SRTP_)?AEAD_AES_(128|256)_GCM$/, 'AES-GCM where both can'],
  [cmOnly, /AES_?(CM_128|128_CM)_HMAC_SHA1_80$/, 'AES-CM with HMAC-SHA1-80 where GCM is out of reach'],
]) {
  test(words, { timeout: 90_000 }, async (t) => {
    const host = await startHost(t, { flags });
    const browser = await openBrowser(t);
    const pages = [];
    for (const name of NAMES) pages.push(await enter(browser, host.url, { room: 'cipher', name }));
    await everyoneSeesAndHears(pages, NAMES);
    for (const page of pages) assert.match(await srtpCipher(page), cipher);
  });
}

test('a wrong fingerprint ends the transport', { timeout: 60_000 }, async (t) => {
  const host = await startHost(t);
  const browser = await openBrowser(t);
  // Somebody in the middle of signalling: one digit of the browser's fingerprint is another.
  await browser.addInitScript(() => {
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (text) {
      const turned = (digit) => (digit === '0' ? '1' : '0');
      send.call(this, text.replace(/(a=fingerprint:sha-256 )(.)/g, (_, head, digit) => head + turned(digit)));
    };
  });
  const query = new URLSearchParams({ room: 'cipher', name: 'Mallory', auto: '1', video: '0' });
  const page = await openPage(browser, `${host.url}/?${query}`);
  const alert = page.locator('#refusal');
  await alert.waitFor({ state: 'visible', timeout: 20_000 });
  assert.equal(await alert.getAttribute('data-code'), 'transport-closed');
  await until('nobody is left inside', 10_000, async () =>
    !(await host.admin('people')).some(({ name, state }) => name === 'Mallory' && state !== 'closed'));
});

function srtpCipher(page) {
  return page.evaluate(async () => {
    const report = [...(await window.tidegate.peerConnection.getStats()).values()];
    return report.find((one) => one.type === 'transport').srtpCipher;
  });
}
