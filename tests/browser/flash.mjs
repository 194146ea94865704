/** A source that flashes and beeps at once, and its observer: functions that run in a page. */

/** In the page: publishes a canvas that turns white while a tone sounds, 100 ms of each second. */
export async function flashAndBeep() {
  const { join } = await import('/sdk/tidegate.js');
  const audio = new AudioContext();
  const tone = new OscillatorNode(audio, { frequency: 1000 });
  const gate = new GainNode(audio, { gain: 0 });
  const out = audio.createMediaStreamDestination();
  tone.connect(gate).connect(out);
  tone.start();
  const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
  const picture = canvas.getContext('2d');
  const stream = canvas.captureStream(30);
  let spot = 0;
  setInterval(() => {
    const on = audio.currentTime % 1 < 0.1;
    gate.gain.value = on ? 0.5 : 0;
    picture.fillStyle = on ? '#fff' : '#000';
    picture.fillRect(0, 0, 320, 180);
    picture.fillStyle = '#555'; // something that changes, so that every frame is sent
    picture.fillRect((spot += 7) % 320, 170, 10, 10);
  }, 1000 / 30);
  window.session = await join({ room: 'lips', name: 'Source' });
  await Promise.all([
    window.session.publish(out.stream.getAudioTracks()[0]), window.session.publish(stream.getVideoTracks()[0], { simulcast: false }),
  ]);
}

/** In the page: notes when flashes are presented and when beeps are rendered; pairs them. */
export async function observe() {
  const { join } = await import('/sdk/tidegate.js');
  window.skews = [];
  const flashes = [];
  const pair = (beep) => {
    const flash = flashes.findLast((at) => Math.abs(at - beep) < 400);
    if (flash !== undefined) window.skews.push(flash - beep);
  };
  window.session = await join({ room: 'lips', name: 'Receiver' });
  window.session.addEventListener('track', ({ detail: track }) => (track.kind === 'audio' ? listen(track) : look(track)));

  function look(track) {
    const element = Object.assign(document.createElement('video'), { autoplay: true, muted: true });
    document.body.append(element);
    window.session.attach(track, element);
    const canvas = new OffscreenCanvas(8, 8).getContext('2d', { willReadFrequently: true });
    let lit = false;
    const onFrame = (now, { expectedDisplayTime }) => {
      canvas.drawImage(element, 0, 0, 8, 8);
      const light = canvas.getImageData(4, 2, 1, 1).data[1] > 128;
      if (light && !lit) flashes.push(expectedDisplayTime);
      lit = light;
      element.requestVideoFrameCallback(onFrame);
    };
    element.requestVideoFrameCallback(onFrame);
  }

  async function listen(track) {
    const element = Object.assign(document.createElement('audio'), { autoplay: true, muted: true });
    window.session.attach(track, element); // without an element Chromium renders no remote audio
    const audio = new AudioContext();
    const code = `registerProcessor('beeps', class extends AudioWorkletProcessor {
      quiet = 0;
      process([[samples]]) {
        const loud = samples?.findIndex((sample) => Math.abs(sample) > 0.1) ?? -1;
        if (loud >= 0 && this.quiet > 0.3 * sampleRate) this.port.postMessage((currentFrame + loud) / sampleRate);
        this.quiet = loud >= 0 ? 0 : this.quiet + 128;
        return true;
      }
    });`;
    await audio.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
    const beeps = new AudioWorkletNode(audio, 'beeps');
    audio.createMediaStreamSource(element.srcObject).connect(beeps);
    // The audio graph is a copy of what the element plays; its own way to the speaker comes on top of it and is
    // taken off again. A beep waits for its flash, which may be presented later.
    beeps.port.onmessage = ({ data: seconds }) => {
      const { contextTime, performanceTime } = audio.getOutputTimestamp();
      const at = performanceTime + (seconds - contextTime - audio.outputLatency) * 1000;
      setTimeout(() => pair(at), 450);
    };
  }
}
