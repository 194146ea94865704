/**
 * WHIP and WHEP, spoken by a few lines of these tests: a page publishes with a plain peer connection and another
 * plays it; people of the stock page see the publisher as one of theirs.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openBrowser } from './browser.mjs';
import { startHost, token, tokens } from './host.mjs';
import { everyoneSeesAndHears, received } from './media.mjs';
import { until } from './until.mjs';
import { speaker } from './whip.mjs';

const ROOM = 'studio';

test('one page publishes by WHIP, another plays it by WHEP', { timeout: 300_000 }, async (t) => {
  const host = await startHost(t, { flags: tokens });
  const browser = await openBrowser(t);
  const early = await speaker(browser, host);
  assert.equal((await early.play(`/whep/${ROOM}`, token(ROOM, 'Early'))).status, 409, 'nothing to play yet');
  assert.equal((await early.play(`/whep/${ROOM}`, '')).status, 401);

  const encoder = await speaker(browser, host);
  const published = await encoder.publish(`/whip/${ROOM}`, token(ROOM, 'Studio'));
  assert.equal(published.status, 201, published.body);
  await encoder.connects();

  await t.test('a player sees and hears it', async () => {
    const player = await speaker(browser, host);
    assert.equal((await player.play(`/whep/${ROOM}`, token(ROOM, 'Player'))).status, 201);
    await player.connects();
    await until('pictures and sound arrive', 20_000, async () => {
      const { frames, energy } = await player.arrived();
      return frames > 10 && energy > 0;
    });
    assert.equal(await player.end(), 200);
    assert.equal(await player.end(), 410);
  });

  await t.test('people of the page see it as a person', async () => {
    const ada = await enter(browser, host.url, { room: ROOM, name: 'Ada', token: token(ROOM, 'Ada') });
    await everyoneSeesAndHears([ada], ['Ada', 'Studio']);
    assert.deepEqual([...new Set((await received(ada)).map(({ source }) => source))].sort(), ['camera', 'microphone']);
    await ada.close();
  });

  await t.test('an ICE restart by PATCH keeps the call', async () => {
    const player = await speaker(browser, host);
    assert.equal((await player.play(`/whep/${ROOM}/Studio`, token(ROOM, 'Player'))).status, 201);
    await until('pictures arrive', 20_000, async () => (await player.arrived()).frames > 5);
    const restarted = await encoder.restart();
    assert.equal(restarted.status, 200, restarted.body);
    assert.notEqual(restarted.tag, published.tag);
    await encoder.connects();
    const { frames } = await player.arrived();
    await until('pictures still arrive', 20_000, async () => (await player.arrived()).frames > frames + 20);
    assert.equal(await player.end(), 200);
  });

  await t.test('what ends is gone from the room', async () => {
    assert.equal(await encoder.end(), 200);
    assert.ok(!(await host.admin('people')).some(({ name }) => name === 'Studio'));
  });

  assert.equal(await host.stop(), 0, host.log);
});
