/**
 * WHIP and WHEP, spoken by a few lines of these tests: a page publishes with a plain peer connection and another
 * plays it; people of the stock page see the publisher as one of theirs.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openBrowser, openPage } from './browser.mjs';
import { startHost, token, tokens } from './host.mjs';
import { everyoneSeesAndHears, received } from './media.mjs';
import { until } from './until.mjs';

const ROOM = 'studio';

test('one page publishes by WHIP, another plays it by WHEP', { timeout: 120_000 }, async (t) => {
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

/** A page that speaks WHIP and WHEP with its own peer connection. */
async function speaker(browser, host) {
  const page = await openPage(browser, `${host.url}/icon.svg`);
  await page.evaluate(() => {
    const state = { peer: null, resource: null, token: '' };
    const request = async (path, method, headers, body) => {
      const bearer = state.token ? { Authorization: `Bearer ${state.token}` } : {};
      const response = await fetch(path, { method, headers: { ...bearer, ...headers }, body });
      return { status: response.status, body: await response.text(), tag: response.headers.get('ETag'), at: response.headers.get('Location') };
    };
    const offer = async (path, token) => {
      state.token = token;
      await state.peer.setLocalDescription();
      const answer = await request(path, 'POST', { 'Content-Type': 'application/sdp' }, state.peer.localDescription.sdp);
      if (answer.status !== 201) return answer;
      state.resource = answer.at;
      await state.peer.setRemoteDescription({ type: 'answer', sdp: answer.body });
      return answer;
    };
    window.whip = {
      async publish(path, token) {
        state.peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
        const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 180 } });
        for (const track of media.getTracks()) state.peer.addTransceiver(track, { direction: 'sendonly', streams: [media] });
        return offer(path, token);
      },
      async play(path, token) {
        state.peer?.close();
        state.peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
        const video = document.createElementNS('http://www.w3.org/1999/xhtml', 'video');
        for (const kind of ['audio', 'video']) state.peer.addTransceiver(kind, { direction: 'recvonly' });
        state.peer.ontrack = ({ streams: [stream] }) => {
          video.srcObject = stream;
          video.play();
        };
        return offer(path, token);
      },
      async restart() {
        const { peer } = state;
        peer.restartIce();
        await peer.setLocalDescription();
        const { sdp } = peer.localDescription;
        const lines = sdp.split('\r\n').filter((line) => /^a=ice-(ufrag|pwd):/.test(line));
        const fragment = [...lines.slice(0, 2), sdp.match(/^m=.*$/m)[0], 'a=mid:0', ''].join('\r\n');
        const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' };
        const answer = await request(state.resource, 'PATCH', headers, fragment);
        if (answer.status !== 200) return answer;
        // Nothing but ICE has changed since the last answer.
        const line = (name) => answer.body.match(new RegExp(`^a=${name}:.*$`, 'm'))[0];
        const renewed = peer.remoteDescription.sdp
          .replace(/^a=ice-ufrag:.*$/gm, line('ice-ufrag')).replace(/^a=ice-pwd:.*$/gm, line('ice-pwd'));
        await peer.setRemoteDescription({ type: 'answer', sdp: renewed });
        return answer;
      },
      state: () => state.peer.connectionState,
      async end() {
        return (await request(state.resource, 'DELETE', {})).status;
      },
      async arrived() {
        const inbound = [...(await state.peer.getStats()).values()].filter((one) => one.type === 'inbound-rtp');
        const of = (kind) => inbound.find((one) => one.kind === kind) ?? {};
        return { frames: of('video').framesDecoded ?? 0, energy: of('audio').totalAudioEnergy ?? 0 };
      },
    };
  });
  const call = (name) => (...words) => page.evaluate(([name, words]) => window.whip[name](...words), [name, words]);
  const state = call('state');
  return {
    publish: call('publish'), play: call('play'), restart: call('restart'), end: call('end'), arrived: call('arrived'),
    connects: () => until('it connects', 20_000, async () => (await state()) === 'connected'),
  };
}
