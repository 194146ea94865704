/**
 * An encoder that comes by WHIP hears no messages: what nobody watches of it, it is told as a ceiling, which a browser
 * heeds as any encoder does.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBrowser } from './browser.mjs';
import { startHost } from './host.mjs';
import { until } from './until.mjs';
import { speaker } from './whip.mjs';

const ROOM = 'studio';
/** A camera of this size takes far more than an unwatched picture keeps. */
const SIZE = { width: 960, height: 540 };
/** The floor of a picture and a sound, and what a browser's encoder overshoots by. */
const QUIET_KBPS = 260;
const LIVELY_KBPS = 450;
/** A new publisher is first left alone, as long as it takes to learn what it sends; then nobody's watching has to last. */
const FALLS_MS = 60_000;
const RISES_MS = 30_000;

test('a publisher by WHIP sends little while nobody watches, and more as soon as somebody does', { timeout: 240_000 }, async (t) => {
  const host = await startHost(t);
  const browser = await openBrowser(t);
  const encoder = await speaker(browser, host);
  assert.equal((await encoder.publish(`/whip/${ROOM}`, '', SIZE)).status, 201);
  await encoder.connects();
  const sends = rate(encoder);

  await until('it sends little', FALLS_MS, async () => (await sends()) < QUIET_KBPS, 2_000);
  const player = await speaker(browser, host);
  assert.equal((await player.play(`/whep/${ROOM}`, '')).status, 201);
  await player.connects();
  await until('it sends more', RISES_MS, async () => (await sends()) > LIVELY_KBPS, 2_000);
  await until('the player sees it', RISES_MS, async () => (await player.arrived()).frames > 30);
  assert.equal(await player.end(), 200);
  await until('it sends little again', FALLS_MS, async () => (await sends()) < QUIET_KBPS, 2_000);
  assert.equal(await encoder.end(), 200);
});

/** What a publisher sent since this was last asked, in kbit/s; nothing the first time. */
function rate(encoder) {
  let before;
  return async () => {
    const since = before;
    before = await encoder.sent();
    return since && ((before.bytes - since.bytes) * 8) / (before.at - since.at);
  };
}
