/** Another WebRTC stack than the browser's: aiortc publishes by WHIP, Chromium and aiortc play it by WHEP. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Aiortc, missing } from './aiortc.mjs';
import { openBrowser } from './browser.mjs';
import { startHost, token, tokens } from './host.mjs';
import { until } from './until.mjs';
import { speaker } from './whip.mjs';

const ROOM = 'studio';
const WIDTH = 320;

test('aiortc publishes, Chromium and aiortc play', { timeout: 120_000 }, async (t) => {
  assert.equal(missing, false, `aiortc is not installed: ${missing}`);
  const host = await startHost(t, { flags: tokens });
  const resource = (door) => `${host.url}/${door}/${ROOM}`;
  const studio = new Aiortc(t, 'publish', resource('whip'), token(ROOM, 'Studio'));
  const [browser] = await Promise.all([
    openBrowser(t),
    studio.until('it connects', ({ status, state }) => status === 201 && state === 'connected'),
  ]);

  await t.test('Chromium plays it', async () => {
    const player = await speaker(browser, host);
    assert.equal((await player.play(`/whep/${ROOM}`, token(ROOM, 'Chromium'))).status, 201);
    await player.connects();
    let seen;
    await until('Chromium sees and hears it', 30_000, async () => {
      seen = await player.arrived();
      return seen.frames > 30 && seen.energy > 0.1;
    });
    assert.equal(seen.width, WIDTH);
    assert.equal(await player.end(), 200);
  });

  await t.test('aiortc plays it', async () => {
    const player = new Aiortc(t, 'play', resource('whep'), token(ROOM, 'Player'));
    const { width } = await player.until('aiortc sees and hears it', ({ frames, energy }) => frames > 30 && energy > 0.1);
    assert.equal(width, WIDTH);
    assert.equal(await player.end(), 200);
  });

  await t.test('aiortc plays what Chromium publishes', async () => {
    const room = 'other-way';
    const publisher = await speaker(browser, host);
    assert.equal((await publisher.publish(`/whip/${room}`, token(room, 'Chromium'))).status, 201);
    await publisher.connects();
    const player = new Aiortc(t, 'play', `${host.url}/whep/${room}`, token(room, 'Player'));
    await player.until('aiortc sees and hears it', ({ frames, energy }) => frames > 30 && energy > 0);
    assert.equal(await player.end(), 200);
    assert.equal(await publisher.end(), 200);
  });

  assert.equal(await studio.end(), 200);
  assert.deepEqual(await host.admin('people'), []);
  assert.equal(await host.stop(), 0, host.log);
});
