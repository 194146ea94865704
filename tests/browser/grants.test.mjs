/** A grant that changes during a call: the page hears of it, closes what it may not send any more, and goes on. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openBrowser, screenshot } from './browser.mjs';
import { startHost, token, tokenKeys } from './host.mjs';
import { everyoneSeesAndHears } from './media.mjs';
import { until } from './until.mjs';

const NAMES = ['Ada', 'Grace'];

test('a page is told of what it may not do any more', { timeout: 120_000 }, async (t) => {
  // Nobody reads the tokens at first.
  const host = await startHost(t);
  const browser = await openBrowser(t);
  const pages = [];
  for (const name of NAMES) {
    const narrow = name === 'Ada' ? { sources: ['microphone'], data: false } : {};
    pages.push(await enter(browser, host.url, { room: 'harbour', name, token: token('harbour', name, 600, narrow) }));
  }
  await everyoneSeesAndHears(pages, NAMES);
  await pages[0].evaluate(() => {
    window.told = [];
    window.tidegate.addEventListener('grant', ({ detail }) => window.told.push(['grant', detail.sources, detail.data]));
    window.tidegate.addEventListener('track-revoked', ({ detail: { publication, code, message } }) =>
      window.told.push(['revoked', publication.source, code, message]));
  });

  await host.order('policies/authorize/swap', { component: 'auth-token', configuration: tokenKeys });
  const { person } = (await host.admin('people')).find(({ name }) => name === 'Ada');
  await host.order(`people/${person}/reauthorize`);

  const message = 'You may not send a track from this source any more.';
  await until('the page is told', 10_000, async () => (await pages[0].evaluate(() => window.told.length)) >= 2);
  assert.deepEqual(await pages[0].evaluate(() => window.told), [
    ['grant', ['microphone'], false],
    ['revoked', 'camera', 'source-not-allowed', message],
  ]);
  await pages[0].waitForSelector('#camera-button[data-state="off"]');
  await pages[0].waitForSelector('#mic-button[data-state="on"]');
  await screenshot(pages[0], 'revoked');
  assert.equal(await pages[0].locator('#banner').textContent(), message);
  const sources = () => pages[1].evaluate(() => [...window.tidegate.tracks.values()].map(({ source }) => source));
  await until('only the sound is left to Grace', 10_000, async () => (await sources()).join() === 'microphone');

  // Who tries all the same is told why not, and the call goes on.
  await pages[0].click('#camera-button');
  await until('the refusal is shown', 10_000, async () =>
    (await pages[0].locator('#banner').textContent()) === 'You may not send a track from this source.');
  await pages[0].waitForSelector('#camera-button[data-state="off"]');
  assert.equal(await pages[0].evaluate(() => document.body.dataset.state), 'connected');
  assert.equal((await sources()).join(), 'microphone');
});
