/** What runs in the pages of codecs.test.mjs: a publisher and a watcher over tidegate.js, without the stock room. */

/**
 * An encoded transform for either end. Whatever turns each byte into another one and back will do, the ones that tell
 * keyframes included: nobody on the way reads them.
 */
export function prepareTransform() {
  const code = `onrtctransform = ({ transformer: { readable, writable } }) => readable.pipeThrough(new TransformStream({
    transform(frame, controller) {
      const bytes = new Uint8Array(frame.data);
      for (let n = 0; n < bytes.length; n++) bytes[n] ^= 0xa5;
      frame.data = bytes.buffer;
      controller.enqueue(frame);
    },
  })).pipeTo(writable);`;
  const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
  window.scramble = (end) => (end.transform = new RTCRtpScriptTransform(worker, {}));
}

/** Makes this a browser that receives only the codecs whose type and parameters match. */
export function receiveOnly(pattern) {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function (kind, init) {
    const transceiver = addTransceiver.call(this, kind, init);
    if (init.direction !== 'recvonly') return transceiver;
    const { codecs } = RTCRtpReceiver.getCapabilities(kind);
    const matches = ({ mimeType, sdpFmtpLine = '' }) => new RegExp(pattern).test(`${mimeType} ${sdpFmtpLine}`);
    transceiver.setCodecPreferences(codecs.filter(matches));
    return transceiver;
  };
}

/** Publishes a camera of this size, or the microphone; `encrypted` runs each frame through the transform. */
export async function publish({ room, size, encrypted, ...options }) {
  const { join } = await import('/sdk/tidegate.js');
  window.session = await join({ room, name: 'Publisher', encodedTransform: encrypted ? window.scramble : undefined });
  const exact = (length) => ({ exact: length });
  const wanted = size ? { video: { width: exact(size[0]), height: exact(size[1]) } } : { audio: true };
  const device = await navigator.mediaDevices.getUserMedia(wanted);
  await window.session.publish(device.getTracks()[0], options);
}

/** Plays the room's one track, if it can. */
export async function watch({ room, encrypted }) {
  const { join } = await import('/sdk/tidegate.js');
  window.session = await join({ room, name: 'Watcher', encodedTransform: encrypted ? window.scramble : undefined });
  window.session.addEventListener('track-unplayable', ({ detail }) => (window.unplayable = detail));
  window.session.addEventListener('track', ({ detail: track }) => {
    const element = Object.assign(document.createElement(track.kind), { autoplay: true });
    element.srcObject = new MediaStream([track.mediaStreamTrack]); // attach() would ask for layers by itself
    document.body.append(element);
    window.track = track;
  });
}

/** The codec that the host's answer names first. Statistics name what is inside of redundant audio. */
export function answered() {
  const { sdp } = window.session.peerConnection.remoteDescription;
  const [, payloadType] = /^m=\S+ \d+ \S+ (\d+)/m.exec(sdp);
  return new RegExp(`^a=rtpmap:${payloadType} (\\w+)/`, 'm').exec(sdp)[1];
}

/** Whether everything from the lowest to the highest of these is encoded. */
export async function layersSent(heights) {
  const report = [...(await window.session.peerConnection.getStats()).values()];
  const streams = report.filter((one) => one.type === 'outbound-rtp' && one.framesEncoded > 10);
  const sizes = streams.map(({ frameHeight }) => frameHeight);
  return streams.some(({ scalabilityMode }) => /^L[23]/.test(scalabilityMode))
    ? sizes.includes(heights.at(-1))
    : heights.every((height) => sizes.includes(height));
}

/** Picture loss indications that reached this publisher. */
export async function keyframeRequests() {
  const report = [...(await window.session.peerConnection.getStats()).values()];
  return report.filter((one) => one.type === 'outbound-rtp').reduce((sum, { pliCount = 0 }) => sum + pliCount, 0);
}

/** What is decoded now. */
export async function played() {
  const report = await window.session.peerConnection.getStats();
  const track = [...report.values()].find((one) => one.type === 'inbound-rtp') ?? {};
  const { mimeType, sdpFmtpLine } = report.get(track.codecId) ?? {};
  return {
    height: track.frameHeight ?? 0, frames: track.framesDecoded ?? 0, energy: track.totalAudioEnergy ?? 0, mimeType, form: sdpFmtpLine ?? '',
  };
}
