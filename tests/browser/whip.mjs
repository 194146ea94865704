/** WHIP and WHEP in a page, by a plain peer connection. Knows nothing of the stock page and its SDK. */

import { openPage } from './browser.mjs';
import { until } from './until.mjs';

/** A page that speaks WHIP and WHEP with its own peer connection. */
export async function speaker(browser, host) {
  const page = await openPage(browser, `${host.url}/icon.svg`);
  await page.evaluate(() => {
    const state = { peer: null, resource: null, token: '' };
    const request = async (path, method, headers, body) => {
      const bearer = state.token ? { Authorization: `Bearer ${state.token}` } : {};
      const response = await fetch(path, { method, headers: { ...bearer, ...headers }, body });
      const header = (name) => response.headers.get(name);
      return { status: response.status, body: await response.text(), tag: header('ETag'), at: header('Location'), again: header('Retry-After') };
    };
    /** Where a busy host could not decide in time, it is asked again when it says. */
    const patiently = async (...words) => {
      for (let attempt = 1; ; attempt += 1) {
        const answer = await request(...words);
        if (answer.status !== 503 || !answer.again || attempt === 5) return answer;
        await new Promise((resolve) => setTimeout(resolve, answer.again * 1_000));
      }
    };
    const offer = async (path, token) => {
      state.token = token;
      await state.peer.setLocalDescription();
      const answer = await patiently(path, 'POST', { 'Content-Type': 'application/sdp' }, state.peer.localDescription.sdp);
      if (answer.status !== 201) return answer;
      state.resource = answer.at;
      await state.peer.setRemoteDescription({ type: 'answer', sdp: answer.body });
      return answer;
    };
    window.whip = {
      async publish(path, token, size = { width: 320, height: 180 }) {
        state.peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
        const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: size });
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
      /** Bytes of all its tracks so far, and when that was, in milliseconds. */
      async sent() {
        const outbound = [...(await state.peer.getStats()).values()].filter((one) => one.type === 'outbound-rtp');
        return { bytes: outbound.reduce((sum, one) => sum + one.bytesSent, 0), at: Math.max(...outbound.map((one) => one.timestamp)) };
      },
      async arrived() {
        const inbound = [...(await state.peer.getStats()).values()].filter((one) => one.type === 'inbound-rtp');
        const of = (kind) => inbound.find((one) => one.kind === kind) ?? {};
        return { frames: of('video').framesDecoded ?? 0, width: of('video').frameWidth ?? 0, energy: of('audio').totalAudioEnergy ?? 0 };
      },
    };
  });
  const call = (name) => (...words) => page.evaluate(([name, words]) => window.whip[name](...words), [name, words]);
  const state = call('state');
  return {
    publish: call('publish'), play: call('play'), restart: call('restart'), end: call('end'), arrived: call('arrived'), sent: call('sent'),
    connects: () => until('it connects', 20_000, async () => (await state()) === 'connected'),
  };
}
