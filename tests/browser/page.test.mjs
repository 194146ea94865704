/** The stock page by itself: usable with a keyboard, on a small screen, in both schemes, and strict about scripts. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openBrowser, openPage, screenshot, SMALL } from './browser.mjs';
import { startHost } from './host.mjs';
import { until } from './until.mjs';

test('the stock page', { timeout: 300_000 }, async (t) => {
  const host = await startHost(t);
  const browser = await openBrowser(t, { viewport: { width: 1200, height: 720 } });

  await t.test('joins by keyboard alone', async () => {
    const page = await openPage(browser, `${host.url}/?camera=${SMALL}`);
    await page.locator('#name').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), 'name');
    await page.keyboard.type('Ada');
    await page.keyboard.press('Tab');
    await page.keyboard.type('quay');
    await page.keyboard.press('Enter');
    await page.waitForSelector('body[data-state="connected"]');
    assert.equal(await page.locator('#title').textContent(), 'quay');
    assert.deepEqual(page.complaints, []);
    await page.close();
  });

  await t.test('mute and camera are seen by others and said to everyone', async () => {
    const ada = await enter(browser, host.url, { room: 'quay', name: 'Ada' });
    const grace = await enter(browser, host.url, { room: 'quay', name: 'Grace' });
    const tile = grace.locator('.tile:not(.self)');
    await until('Ada is live', 15_000, async () => (await tile.getAttribute('data-video')) === 'on');

    await ada.click('#mic-button');
    await until('Ada is shown as muted', 5_000, async () => (await tile.getAttribute('data-muted')) === 'true');
    assert.equal(await ada.getAttribute('#mic-button', 'aria-label'), 'Unmute microphone');
    assert.equal(await ada.getAttribute('#mic-button', 'aria-pressed'), 'false');
    await ada.click('#camera-button');
    await until("Ada's camera is shown as off", 5_000, async () => (await tile.getAttribute('data-video')) === 'off');
    await ada.click('#camera-button');
    await ada.click('#mic-button');
    await until('Ada is back', 5_000, async () =>
      (await tile.getAttribute('data-video')) === 'on' && (await tile.getAttribute('data-muted')) === 'false');
    await until('Ada is shown as speaking', 10_000, async () => (await tile.getAttribute('data-speaking')) === 'true');
    await Promise.all([ada.close(), grace.close()]);
  });

  await t.test('each connection has its bars, and words for who cannot see them', async () => {
    const ada = await enter(browser, host.url, { room: 'quay', name: 'Ada' });
    const grace = await enter(browser, host.url, { room: 'quay', name: 'Grace' });
    for (const tile of ['.tile.self', '.tile:not(.self)']) {
      const bars = grace.locator(`${tile} .quality`);
      await bars.waitFor({ timeout: 15_000 });
      await until('a level is told', 15_000, async () => /^[123]$/.test(await bars.getAttribute('data-level')));
      assert.match(await bars.getAttribute('aria-label'), /^(Good|Fair|Poor) connection$/);
      assert.match(await bars.getAttribute('title'), /% lost.* kbit\/s$/);
    }
    await Promise.all([ada.close(), grace.close()]);
  });

  await t.test('fits 360 px, light and dark, without anything beyond the edge', async () => {
    const page = await enter(browser, host.url, { room: 'quay', name: 'Ada' });
    await page.setViewportSize({ width: 360, height: 740 });
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
      await screenshot(page, `narrow-${colorScheme}`);
    }
    await page.close();
  });

  await t.test('every control has a name', async () => {
    const page = await enter(browser, host.url, { room: 'quay', name: 'Ada' });
    const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, select')]
      .filter((one) => !one.getAttribute('aria-label') && !one.textContent.trim() && !one.labels?.[0]?.textContent.trim())
      .map((one) => one.outerHTML));
    assert.deepEqual(nameless, []);
    await page.close();
  });

  await t.test('no inline script or foreign source may run', async () => {
    for (const path of ['/', '/console']) {
      const policy = (await fetch(host.url + path)).headers.get('content-security-policy') ?? '';
      assert.match(policy, /default-src 'self'/, path);
      const scripts = policy.split(';').filter((part) => /^\s*(default|script)-src/.test(part)).join();
      assert.doesNotMatch(scripts, /unsafe|\*|http/, path);
    }
  });
});
