/**
 * Joiners of a running broadcast: while the chain since the last keyframe is fresh, one sees a picture without asking
 * the publisher for a keyframe, and soon plays as promptly as one who began with a new keyframe.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBrowser, openPage } from './browser.mjs';
import { keyframeRequests, played, publish, watch } from './codecs.mjs';
import { startHost } from './host.mjs';
import { until } from './until.mjs';

const ROOM = 'broadcast';
const CAMERA = [320, 180];
const FRAMES_PER_SECOND = 15;
const START_MS = 30_000;
/** As encoders of broadcasts do; a chain of the host's is fresh for longer. */
const KEYFRAME_EVERY_MS = 500;
const DELAY_MS = 150;
const ATTEMPTS = 3;

test('a joiner of a running broadcast', { timeout: 300_000 }, async (t) => {
  const host = await startHost(t);
  const browser = await openBrowser(t);
  const open = () => openPage(browser, `${host.url}/?room=x&name=x&video=0&audio=0`);
  const [publisher, first] = [await open(), await open()];
  let second;
  await publisher.evaluate(publish, { room: ROOM, size: CAMERA });

  await t.test('with a stale chain a keyframe is asked for', async () => {
    await until('the first keyframe is long past', START_MS, () => publisher.evaluate(hasEncoded, 4 * FRAMES_PER_SECOND));
    const before = await publisher.evaluate(keyframeRequests);
    await begin(first);
    assert.ok((await publisher.evaluate(keyframeRequests)) > before);
    assert.equal(await first.evaluate(replays), 0);
  });

  await t.test('with a fresh one none is', async () => {
    await publisher.evaluate(makeKeyframes, KEYFRAME_EVERY_MS);
    // A busy machine may hold the publisher's keyframes up for longer than a chain is fresh: then another one joins.
    for (let attempt = 1; ; attempt += 1) {
      second = await open();
      const before = await publisher.evaluate(keyframeRequests);
      await begin(second);
      const asked = (await publisher.evaluate(keyframeRequests)) - before;
      const replayed = await second.evaluate(replays);
      if (replayed === 0 && attempt < ATTEMPTS) {
        await second.close();
        continue;
      }
      assert.deepEqual({ replayed, asked }, { replayed: 1, asked: 0 });
      return;
    }
  });

  await t.test('after 3 s it plays as promptly as the other', async (t) => {
    await until('3 s have been played', START_MS, async () => (await second.evaluate(played)).frames > 3 * FRAMES_PER_SECOND);
    // A busy machine may hold one page up for a second, but not for three.
    const differences = [];
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const [without, after] = await Promise.all([first, second].map(delayOverASecond));
      t.diagnostic(`jitter buffers: ${without} ms without a replay, ${after} ms after one`);
      differences.push(Math.abs(after - without));
      if (differences.at(-1) < DELAY_MS) return;
    }
    assert.fail(`jitter buffers differ by ${differences.join(', ')} ms`);
  });

  assert.equal(await host.stop(), 0, host.log);
});

/** Joins and waits for a picture that moves. */
async function begin(page) {
  await page.evaluate(watch, { room: ROOM });
  await until('a picture moves', START_MS, async () => (await page.evaluate(played)).frames > 3);
}

/** Whether so many frames have been encoded, of which only the first was a keyframe. */
async function hasEncoded(wanted) {
  const report = [...(await window.session.peerConnection.getStats()).values()];
  const { framesEncoded = 0 } = report.find(({ type }) => type === 'outbound-rtp') ?? {};
  return framesEncoded >= wanted;
}

/** Makes the publisher's encoder begin anew so often, by itself. */
async function makeKeyframes(every) {
  const [publication] = window.session.publications;
  const { sender } = window.session.peerConnection.getTransceivers().find((one) => one.sender.track === publication.track);
  const make = () => sender.setParameters(sender.getParameters(), { encodingOptions: [{ keyFrame: true }] });
  await make();
  setInterval(make, every);
}

/** How often this page's consumer began with what the host held. */
async function replays() {
  const { consumers } = await window.session.hostStats();
  return consumers.reduce((sum, [, stats]) => sum + stats.replays, 0);
}

/** What frames waited in the jitter buffer, in ms, over the next second's worth of them. */
async function delayOverASecond(page) {
  const before = await page.evaluate(emitted);
  const after = await until('a second more is played', START_MS, async () => {
    const now = await page.evaluate(emitted);
    return now.count >= before.count + FRAMES_PER_SECOND && now;
  });
  return Math.round(((after.seconds - before.seconds) * 1_000) / (after.count - before.count));
}

/** What the jitter buffer has let go so far: how many frames, and how long they waited together. */
async function emitted() {
  const report = [...(await window.session.peerConnection.getStats()).values()];
  const { jitterBufferDelay: seconds, jitterBufferEmittedCount: count } = report.find(({ type }) => type === 'inbound-rtp');
  return { seconds, count };
}
