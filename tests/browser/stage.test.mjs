/** Many people in the stock page: who speaks stands large and in the high layer, the others small and in the low one. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, LARGE, openBrowser, screenshot } from './browser.mjs';
import { startHost } from './host.mjs';
import { received } from './media.mjs';
import { until } from './until.mjs';

const STEP_MS = 30_000;
const ROOM = 'assembly';

test('a room with many people', { timeout: 300_000 }, async (t) => {
  const host = await startHost(t);
  const [stage, seats] = await Promise.all([openBrowser(t), openBrowser(t, { viewport: { width: 1200, height: 720 } })]);
  const ada = await enter(stage, host.url, { room: ROOM, name: 'Ada', camera: LARGE });
  const alan = await enter(stage, host.url, { room: ROOM, name: 'Alan', video: '0', audio: '0' });
  const grace = await enter(seats, host.url, { room: ROOM, name: 'Grace', video: '0', audio: '0' });
  const large = grace.locator('.tile.large .who');
  const layout = () => grace.getAttribute('#grid', 'data-layout');
  const layer = async () => (await received(grace)).find(({ kind }) => kind === 'video')?.encoding;

  await t.test('a few stand side by side', async () => {
    assert.equal(await layout(), 'grid');
    assert.equal(await grace.locator('#view-button').textContent(), 'Speaker view');
  });

  await t.test('of many, who speaks stands large, in the high layer', async () => {
    await silentPeople(alan, ['Katherine Johnson', 'Dorothy', 'Mary']);
    await until('Ada stands large', STEP_MS, async () => (await large.allTextContents()).join() === 'Ada');
    assert.equal(await layout(), 'side');
    await until('the high layer comes', STEP_MS, async () => (await layer()) === 2);
  });

  await t.test('it looks the same in every scheme and size', async () => {
    for (const colorScheme of ['light', 'dark']) {
      await grace.emulateMedia({ colorScheme });
      await grace.setViewportSize({ width: 1200, height: 720 });
      await screenshot(grace, `stage-wide-${colorScheme}`);
      await grace.setViewportSize({ width: 360, height: 740 });
      await until('the strip stands below', STEP_MS, async () => (await layout()) === 'below');
      assert.ok((await grace.evaluate(() => document.documentElement.scrollWidth)) <= 360);
      await screenshot(grace, `stage-narrow-${colorScheme}`);
    }
    await grace.setViewportSize({ width: 1200, height: 720 });
    await until('the strip stands beside', STEP_MS, async () => (await layout()) === 'side');
  });

  await t.test('another speaker takes the stage, and the first one is sent small', async () => {
    await ada.click('#mic-button');
    await alan.click('#mic-button');
    await until('Alan stands large', STEP_MS, async () => (await large.textContent()) === 'Alan');
    await until('Ada comes in the low layer', STEP_MS, async () => (await layer()) === 0);
  });

  await t.test('a tile can be kept large, whoever speaks', async () => {
    await grace.locator('.tile', { hasText: 'Dorothy' }).locator('.enlarge').click();
    assert.equal(await large.textContent(), 'Dorothy');
    await grace.locator('.tile', { hasText: 'Dorothy' }).locator('.enlarge').click();
    assert.equal(await large.textContent(), 'Alan');
  });

  await t.test('the view can be switched by keyboard, and stays as chosen', async () => {
    await grace.locator('#view-button').focus();
    await grace.keyboard.press('Enter');
    assert.equal(await layout(), 'grid');
    assert.equal(await large.count(), 0);
    await screenshot(grace, 'stage-grid');
    await silentPeople(alan, ['Annie']);
    await grace.locator('.tile', { hasText: 'Annie' }).waitFor();
    assert.equal(await layout(), 'grid');
    await grace.keyboard.press('Enter');
    assert.equal(await large.textContent(), 'Alan');
  });

  assert.deepEqual(grace.complaints, []);
});

/** People who neither send nor look: they cost a session each. */
function silentPeople(page, names) {
  return page.evaluate(async ([room, names]) => {
    const { join } = await import('/sdk/tidegate.js');
    window.silent = await Promise.all(names.map((name) => join({ room, name })));
  }, [ROOM, names]);
}
