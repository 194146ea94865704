/** Simulcast by tile size: a small tile gets the low layer only; enlarged, the high one without a gap. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { enter, LARGE, openBrowser } from './browser.mjs';
import { spread, startHost } from './host.mjs';
import { received, sent, watchFrames } from './media.mjs';
import { until } from './until.mjs';

const LOW_KBPS = 250;
const SWITCH_MS = 2_000;
const GAP_MS = 300;
/** So often it is tried. */
const TIMES = 3;

for (const [shards, where] of [[1, 'on one shard'], [2, 'over a relay']]) {
  test(`tile size chooses the layer ${where}`, { timeout: 300_000 }, async (t) => {
    const host = await startHost(t, { shards, flags: shards > 1 ? spread : [] });
    const [stage, seats] = await Promise.all([openBrowser(t), openBrowser(t, { viewport: { width: 360, height: 640 } })]);
    const publisher = await enter(stage, host.url, { room: 'tide', name: 'Ada', camera: LARGE, audio: '0' });
    const watcher = await enter(seats, host.url, { room: 'tide', name: 'Grace', video: '0', audio: '0' });
    await until('all three layers are sent', 40_000, async () =>
      (await sent(publisher)).filter(({ frames }) => frames > 15).length === 3);

    await t.test('a small tile gets the low layer, and the high ones stop', async () => {
      await until('the low layer comes', 10_000, async () => (await video(watcher)).encoding === 0);
      await until('nothing but the low layer comes', 15_000, async () => (await rateKbps(watcher)) < LOW_KBPS);
      const { width, frames } = await video(watcher);
      assert.ok(frames > 0 && width <= 320, `${width} wide`);
    });

    await t.test('enlarged, the high layer comes at once and without a gap', async () => {
      const enlarged = [];
      // What the switch causes comes again; what a busy machine causes by chance does not.
      while (enlarged.length < TIMES && !enlarged.some(isSmooth)) {
        if (enlarged.length > 0) await makeSmall(watcher);
        enlarged.push(await enlarge(watcher));
      }
      t.diagnostic(enlarged.map(({ after, gap }) => `high layer after ${after} ms, largest gap ${gap} ms`).join('; '));
      assert.ok(enlarged.some(isSmooth), `each time later than ${SWITCH_MS} ms, or with a gap of over ${GAP_MS} ms`);
      assert.equal((await video(watcher)).encoding, 2);
    });

    await t.test('made small again, the high layer stops', async () => {
      await makeSmall(watcher);
    });
  });
}

const isSmooth = ({ after, gap }) => after <= SWITCH_MS && gap <= GAP_MS;

/** Enlarges the one tile; resolves to when the high layer came, and the longest time without a frame. */
async function enlarge(page) {
  await watchFrames(page);
  await until('frames are watched', 5_000, () => page.evaluate(() => window.frames_.length > 10));
  await page.evaluate(() => (window.enlargedAt = performance.now()));
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.click('.tile:not(.self) .enlarge');
  await until('the high layer is presented', 15_000, () => page.evaluate(() => window.frames_.some((one) => one.width > 640)));
  await pause(1_000);
  return page.evaluate(() => {
    const high = window.frames_.find((one) => one.width > 640).at - window.enlargedAt;
    const gaps = window.frames_.slice(1).map((one, n) => one.at - window.frames_[n].at);
    window.stopWatching();
    return { after: Math.round(high), gap: Math.round(Math.max(...gaps)) };
  });
}

/** Makes it small again, and waits until nothing but the low layer comes. */
async function makeSmall(page) {
  await page.click('.tile:not(.self) .enlarge');
  await page.setViewportSize({ width: 360, height: 640 });
  await until('the low layer is back', 15_000, async () =>
    (await video(page)).encoding === 0 && (await rateKbps(page)) < LOW_KBPS);
}

async function video(page) {
  return (await received(page)).find(({ kind }) => kind === 'video') ?? {};
}

async function rateKbps(page) {
  const before = await video(page);
  await pause(1_000);
  const after = await video(page);
  return ((after.bytes - before.bytes) * 8) / (after.at - before.at);
}
