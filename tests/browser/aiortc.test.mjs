/** Another WebRTC stack than the browser's: aiortc publishes by WHIP, Chromium and aiortc play it by WHEP. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Aiortc, missing } from './aiortc.mjs';
import { openBrowser } from './browser.mjs';
import { startHost, token, tokens } from './host.mjs';
import { until } from './until.mjs';
import { speaker } from './whip.mjs';

const ROOM = 'studio';
const OTHER = 'other-way';
const WIDTH = 320;

test('aiortc publishes, Chromium and aiortc play', { timeout: 300_000 }, async (t) => {
  assert.equal(missing, false, `aiortc is not installed: ${missing}`);
  const host = await startHost(t, { flags: tokens });
  const aiortc = (role, room, name) => {
    const door = role === 'publish' ? 'whip' : 'whep';
    return new Aiortc(t, role, `${host.url}/${door}/${room}`, token(room, name));
  };
  const studio = aiortc('publish', ROOM, 'Studio');
  const browser = await openBrowser(t);
  const publisher = await speaker(browser, host);
  assert.equal((await publisher.publish(`/whip/${OTHER}`, token(OTHER, 'Chromium'))).status, 201);
  await studio.until('it connects', ({ status, state }) => status === 201 && state === 'connected');
  // Python takes its time to start: both at once.
  const [player, other] = [aiortc('play', ROOM, 'Player'), aiortc('play', OTHER, 'Player')];

  await t.test('Chromium plays it', async () => {
    const chromium = await speaker(browser, host);
    assert.equal((await chromium.play(`/whep/${ROOM}`, token(ROOM, 'Chromium'))).status, 201);
    await chromium.connects();
    let seen;
    await until('Chromium sees and hears it', 30_000, async () => {
      seen = await chromium.arrived();
      return seen.frames > 30 && seen.energy > 0.1;
    });
    assert.equal(seen.width, WIDTH);
    assert.equal(await chromium.end(), 200);
  });

  await t.test('aiortc plays it', async () => {
    const { width } = await player.until('aiortc sees and hears it', ({ frames, energy }) => frames > 30 && energy > 0.1);
    assert.equal(width, WIDTH);
    assert.equal(await player.end(), 200);
  });

  await t.test('aiortc plays what Chromium publishes', async () => {
    await publisher.connects();
    await other.until('aiortc sees and hears it', ({ frames, energy }) => frames > 30 && energy > 0);
    assert.equal(await other.end(), 200);
    assert.equal(await publisher.end(), 200);
  });

  assert.equal(await studio.end(), 200);
  assert.deepEqual(await host.admin('people'), []);
  assert.equal(await host.stop(), 0, host.log);
});
