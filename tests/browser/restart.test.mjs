/** The host restarts under a call: every page is back by itself within 5 s. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openBrowser, screenshot } from './browser.mjs';
import { startHost } from './host.mjs';
import { everyoneSeesAndHears } from './media.mjs';
import { stopwatch } from './until.mjs';

const NAMES = ['Ada', 'Grace'];
const BACK_MS = 5_000;

for (const [end, words] of [['stop', 'stopped and started'], ['kill', 'killed and started']]) {
  test(`a host that is ${words} gets its people back`, { timeout: 300_000 }, async (t) => {
    const host = await startHost(t);
    const browser = await openBrowser(t);
    const pages = [];
    for (const name of NAMES) pages.push(await enter(browser, host.url, { room: 'phoenix', name }));
    await everyoneSeesAndHears(pages, NAMES);

    const code = await host[end]();
    if (end === 'stop') assert.equal(code, 0, host.log);
    await Promise.all(pages.map((page) => page.waitForSelector('body[data-state="reconnecting"]', { timeout: 5_000 })));
    await pages[0].waitForSelector('#banner:not([hidden])');
    await screenshot(pages[0], 'reconnecting');

    await host.start();
    const elapsed = stopwatch();
    await Promise.all(pages.map((page) => page.waitForSelector('body[data-state="connected"]', { timeout: BACK_MS })));
    await everyoneSeesAndHears(pages, NAMES, BACK_MS);
    t.diagnostic(`all back after ${elapsed()} ms`);
    assert.ok(elapsed() <= BACK_MS, `it took ${elapsed()} ms`);
  });
}
