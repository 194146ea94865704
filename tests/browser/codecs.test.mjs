/**
 * Each codec between two pages: it is played in what it was published in, and the picture follows the layer that is
 * asked for, down and up, with at most one keyframe request a switch. Who decodes less than the publisher could send
 * gets what it decodes, or is told.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBrowser, openPage } from './browser.mjs';
import { answered, keyframeRequests, layersSent, played, prepareTransform, publish, receiveOnly, watch } from './codecs.mjs';
import { startHost } from './host.mjs';
import { until } from './until.mjs';

const MEDIUM = [1024, 576];
const SMALL = [640, 360];
const TINY = [320, 180];
const START_MS = 40_000;
const SWITCH_MS = 20_000;
/** So often all switches are tried. */
const ROUNDS = 3;

const LAYERED = [
  { name: 'VP8, told apart by the dependency descriptor', codec: 'VP8', size: SMALL, heights: [180, 360] },
  { name: 'H.264', codec: 'H264', size: SMALL, heights: [180, 360] },
  { name: 'VP9 with spatial layers', codec: 'VP9', scalabilityMode: 'L3T3_KEY', size: MEDIUM, heights: [144, 288, 576] },
  { name: 'AV1 with spatial layers', codec: 'AV1', scalabilityMode: 'L2T2_KEY', size: SMALL, heights: [180, 360] },
  { name: 'VP8 encrypted by an encoded transform', codec: 'VP8', encrypted: true, size: SMALL, heights: [180, 360] },
];

test('codecs', { timeout: 400_000 }, async (t) => {
  const host = await startHost(t);
  const context = await openBrowser(t);

  for (const { name, heights, ...options } of LAYERED) {
    await t.test(name, async (t) => {
      const [publisher, watcher] = await pages(t, context, host, 2);
      if (options.encrypted) await Promise.all([publisher, watcher].map((page) => page.evaluate(prepareTransform)));
      await publisher.evaluate(publish, { ...options, room: name });
      await watcher.evaluate(watch, { ...options, room: name });
      await until('all layers are sent', START_MS, () => publisher.evaluate(layersSent, heights));
      await until('the track is there', SWITCH_MS, () => watcher.evaluate(() => Boolean(window.track)));
      const top = heights.length - 1;
      const rounds = [];
      // What a switch causes comes again; what a busy machine causes by chance does not.
      while (rounds.length < ROUNDS && !rounds.some(isFrugal)) {
        const requests = [];
        for (const layer of [top, 0, top, 0]) requests.push(await follows(publisher, watcher, heights, layer));
        rounds.push(requests);
      }
      t.diagnostic(`keyframe requests, switch by switch: ${rounds.map((requests) => requests.join(' ')).join('; ')}`);
      assert.ok(rounds.some(isFrugal), 'more than one keyframe request for a switch, each time');
      assert.equal((await watcher.evaluate(played)).mimeType, `video/${options.codec}`);
    });
  }

  await t.test('H.264 to a browser that knows another profile of it', async (t) => {
    const [publisher, watcher] = await pages(t, context, host, 2);
    await watcher.evaluate(receiveOnly, 'rtx|profile-level-id=4d001f');
    await publisher.evaluate(publish, { room: 'profiles', codec: 'H264', size: TINY });
    await watcher.evaluate(watch, { room: 'profiles' });
    const { mimeType, form } = await playing(watcher, ({ frames }) => frames > 10);
    assert.equal(mimeType, 'video/H264');
    assert.match(form, /packetization-mode=1;profile-level-id=4d001f/);
  });

  await t.test('a browser without the codec is told', async (t) => {
    const [publisher, watcher] = await pages(t, context, host, 2);
    await watcher.evaluate(receiveOnly, 'VP8');
    await publisher.evaluate(publish, { room: 'told', codec: 'VP9', size: TINY });
    await watcher.evaluate(watch, { room: 'told' });
    const told = await until('it is told', SWITCH_MS, () => watcher.evaluate(() => window.unplayable));
    assert.equal(told.code, 'codec-missing');
  });

  await t.test('redundant audio is heard with redundancy and without', async (t) => {
    const [publisher, able, plain] = await pages(t, context, host, 3);
    await plain.evaluate(receiveOnly, 'opus');
    await publisher.evaluate(publish, { room: 'redundant', codec: 'red' });
    for (const [page, codec] of [[able, 'red'], [plain, 'opus']]) {
      await page.evaluate(watch, { room: 'redundant' });
      await playing(page, ({ energy }) => energy > 0.001);
      assert.equal(await page.evaluate(answered), codec);
    }
    assert.equal(await publisher.evaluate(answered), 'red');
  });
});

const isFrugal = (requests) => requests.every((count) => count <= 1);

/** Asks for a layer and waits until its picture is decoded; resolves to how many keyframes were asked for meanwhile. */
async function follows(publisher, watcher, heights, layer) {
  const height = heights[layer];
  const before = await publisher.evaluate(keyframeRequests);
  const { frames } = await watcher.evaluate(played);
  await watcher.evaluate((wanted) => window.session.setLayers(window.track, wanted), layer);
  await playing(watcher, (now) => now.height === height && now.frames > frames + 5);
  return (await publisher.evaluate(keyframeRequests)) - before;
}

/** Waits until what is played is as it should be. */
async function playing(page, isRight) {
  let last;
  await until('it is played', SWITCH_MS, async () => isRight((last = await page.evaluate(played))))
    .catch((error) => assert.fail(`${error.message}; last ${JSON.stringify(last)}`));
  return last;
}

/** The host's page as a place to run in: it uses neither camera nor microphone. */
function pages(t, context, host, count) {
  const opened = Promise.all(Array.from({ length: count }, () => openPage(context, `${host.url}/?room=x&name=x&video=0&audio=0`)));
  t.after(async () => Promise.all((await opened).map((page) => page.close())));
  return opened;
}
