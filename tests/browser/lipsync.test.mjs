/** A source that flashes and beeps at once is seen and heard at once, also over a relay. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBrowser, openPage } from './browser.mjs';
import { flashAndBeep, observe } from './flash.mjs';
import { spread, startHost } from './host.mjs';
import { until } from './until.mjs';

const SKEW_MS = 60;
/** Receivers shift audio against video in steps, once a second, after the first sender reports. */
const SETTLED_EVENTS = 8;
const SETTLE_MS = 40_000;

for (const [shards, where] of [[1, 'on one shard'], [2, 'over a relay']]) {
  test(`flash and beep arrive together ${where}`, { timeout: 300_000 }, async (t) => {
    const host = await startHost(t, { shards, flags: shards > 1 ? spread : [] });
    const [stage, seats] = await Promise.all([openBrowser(t), openBrowser(t)]);
    const [source, receiver] = await Promise.all([idlePage(stage, host.url), idlePage(seats, host.url)]);
    await source.evaluate(flashAndBeep);
    await receiver.evaluate(observe);
    if (shards > 1) await until('a relay is open', 10_000, async () => (await host.admin('relays')).length > 0);

    let skews = [];
    await until(`${SETTLED_EVENTS} events in a row within ${SKEW_MS} ms`, SETTLE_MS, async () => {
      skews = await receiver.evaluate(() => window.skews);
      const last = skews.slice(-SETTLED_EVENTS);
      return last.length === SETTLED_EVENTS && last.every((skew) => Math.abs(skew) <= SKEW_MS);
    }, 500).catch((error) => assert.fail(`${error.message}; flash minus beep, ms: ${skews.map(Math.round).join(' ')}`));
    t.diagnostic(`flash minus beep, ms: ${skews.map(Math.round).join(' ')}`);
  });
}

/** The host's page as a place to run in: it uses neither camera nor microphone. */
function idlePage(context, url) {
  return openPage(context, `${url}/?room=lips&name=x&video=0&audio=0`);
}
