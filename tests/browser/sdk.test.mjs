/**
 * tidegate.js against a scripted host on virtual time: what it does when the socket breaks, the host restarts
 * or two things are wanted at once. Knows nothing of real media; the other files have that.
 */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { codecOrder, difference, encodingsFor, frame, join, layerFor, qualityLevel, retryDelay, sessionAddress, unframe } from '../../sdk/js/tidegate.js';

describe('pure parts', () => {
  it('retries from 0.25 s to 2 s', () => {
    assert.deepEqual([0, 1, 2, 3, 4, 50].map(retryDelay), [250, 500, 1000, 2000, 2000, 2000]);
  });

  it('asks for the layer that fills an element', () => {
    const cases = [[0, 3, 0], [320, 3, 0], [401, 3, 1], [800, 3, 1], [801, 3, 2], [4000, 3, 2], [1200, 2, 1], [1200, 1, 0]];
    for (const [width, encodings, layer] of cases) assert.equal(layerFor(width, encodings), layer, `${width} of ${encodings}`);
  });

  it('calls a connection what somebody in a call would', () => {
    const cases = [
      [{}, 3], [{ loss: 0.02, roundTripMs: 120 }, 3], [{ loss: 0.05 }, 2], [{ roundTripMs: 300 }, 2], [{ allowance: 'reduced' }, 2],
      [{ loss: 0.2 }, 1], [{ roundTripMs: 900 }, 1], [{ allowance: 'nothing' }, 1], [{ frozen: true }, 1], [{ frozen: true, silent: true }, 0],
    ];
    for (const [figures, level] of cases) assert.equal(qualityLevel(figures), level, JSON.stringify(figures));
  });

  it('sends as many encodings as the browser really encodes, lowest first', () => {
    const rids = (width, simulcast) => encodingsFor(width, simulcast).map(({ rid }) => rid);
    assert.deepEqual(rids(1280), ['q', 'h', 'f']);
    assert.deepEqual(encodingsFor(1280).map((one) => one.scaleResolutionDownBy), [4, 2, 1]);
    assert.deepEqual(rids(640), ['h', 'f']);
    assert.deepEqual(rids(320), [undefined]);
    assert.deepEqual(rids(1280, false), [undefined]);
  });

  it('sends spatial layers in one stream and temporal ones in each', () => {
    assert.deepEqual(encodingsFor(1280, true, 'L3T3_KEY').map(({ rid, scalabilityMode }) => [rid, scalabilityMode]), [[undefined, 'L3T3_KEY']]);
    assert.deepEqual(encodingsFor(640, true, 'L1T3').map(({ rid, scalabilityMode }) => [rid, scalabilityMode]), [['h', 'L1T3'], ['f', 'L1T3']]);
    assert.deepEqual(encodingsFor(640, false, 'L1T2'), [{ scalabilityMode: 'L1T2' }]);
  });

  it('puts the wanted codecs first and keeps the others', () => {
    const codecs = ['VP8', 'rtx', 'VP9', 'H264', 'H264', 'AV1'].map((name, n) => ({ mimeType: `video/${name}`, n }));
    const order = (wanted) => codecOrder(codecs, wanted)?.map(({ n }) => n);
    assert.deepEqual(order('h264'), [3, 4, 0, 1, 2, 5]);
    assert.deepEqual(order(['AV1', 'VP9']), [5, 2, 0, 1, 3, 4]);
    assert.deepEqual(order(['H265', 'VP9']), [2, 0, 1, 3, 4, 5]);
    assert.equal(codecOrder(codecs, 'H265'), null);
  });

  it('finds the session from whatever names the host', () => {
    const base = 'https://meet.example/room?x=1';
    assert.equal(sessionAddress(undefined, base), 'wss://meet.example/session');
    assert.equal(sessionAddress('http://localhost:7000', base), 'ws://localhost:7000/session');
    assert.equal(sessionAddress('wss://other.example/s', base), 'wss://other.example/s');
  });

  it('frames messages with kind and person', () => {
    assert.deepEqual([...frame('hi', 258)], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 104, 105]);
    assert.deepEqual(unframe(frame('hü', 7).buffer), { person: 7, data: 'hü' });
    const { person, data } = unframe(frame(new Uint16Array([1, 513]), 2 ** 50).buffer);
    assert.deepEqual([person, ...new Uint8Array(data)], [2 ** 50, 1, 0, 1, 2]);
    for (const none of ['text', new ArrayBuffer(11), new ArrayBuffer(12)]) assert.equal(unframe(none), null);
  });

  it('tells two rooms apart', () => {
    assert.deepEqual(difference(new Map([[1, 0], [2, 0]]), new Map([[2, 0], [3, 0]])), { gone: [1], came: [3] });
  });
});

/** The host's side: what came, and scripted answers. */
class Script {
  sockets = [];
  heard = [];
  up = true;
  gone = false;
  refusal = null;
  producers = 0;
  offersInFlight = 0;
  mostOffersInFlight = 0;
  answerOffers = true;
  people = [];
  tracks = [];
  receiving = [];

  get types() {
    return this.heard.map(({ type }) => type).filter((type) => type !== 'stats');
  }

  say(message) {
    this.sockets.at(-1).deliver(message);
  }

  answer(socket, message) {
    this.heard.push(message);
    const ok = (fields = {}) => socket.deliver({ type: 'ok', id: message.id, ...fields });
    const error = (fields) => socket.deliver({ type: 'error', id: message.id, ...fields });
    if (message.type === 'join' && this.refusal) return error(this.refusal);
    if (message.type === 'resume' && this.gone) return error({ status: 404, code: 'session-gone' });
    if (message.type === 'join' || message.type === 'resume') {
      return ok({ person: 1, resume: 'secret', room: 'tea', name: 'Ada', people: this.people, tracks: this.tracks });
    }
    if (message.type !== 'offer') return ok();
    this.offersInFlight += 1;
    this.mostOffersInFlight = Math.max(this.mostOffersInFlight, this.offersInFlight);
    if (!this.answerOffers) return undefined;
    setTimeout(() => {
      this.offersInFlight -= 1;
      ok({ sdp: 'answer', published: message.tracks.map(({ mid }) => ({ mid, producer: 100 + (this.producers += 1) })), receiving: this.receiving });
    }, 50);
    return undefined;
  }
}

function fakeSocket(script) {
  return class {
    constructor() {
      script.sockets.push(this);
      setTimeout(() => (script.up ? this.onopen() : this.onclose({})), 1);
    }
    send(text) {
      if (!this.dead) queueMicrotask(() => script.answer(this, JSON.parse(text)));
    }
    deliver(message) {
      if (!this.dead) this.onmessage({ data: JSON.stringify(message) });
    }
    close() {
      this.dead = true;
    }
    break() {
      this.dead = true;
      this.onclose({ reason: '' });
    }
  };
}

class FakePeerConnection {
  static all = [];
  transceivers = [];
  channels = [];
  iceConnectionState = 'new';
  signalingState = 'stable';
  localDescription = null;
  restarts = 0;

  constructor() {
    FakePeerConnection.all.push(this);
  }
  addTransceiver(trackOrKind, { direction }) {
    const kind = trackOrKind.kind ?? trackOrKind;
    const transceiver = { direction, mid: null, receiver: { track: { kind } }, sender: { replaceTrack: async () => {} } };
    this.transceivers.push(transceiver);
    return transceiver;
  }
  getTransceivers() {
    return this.transceivers;
  }
  createDataChannel(label, options) {
    const channel = { label, ...options, readyState: 'connecting', sent: [], bufferedAmount: 0 };
    channel.send = (bytes) => channel.sent.push(unframe(bytes.buffer).data);
    channel.close = () => {};
    this.channels.push(channel);
    return channel;
  }
  async createOffer({ iceRestart }) {
    if (iceRestart) this.restarts += 1;
    return { type: 'offer', sdp: `offer ${this.restarts}` };
  }
  async setLocalDescription(description) {
    this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
    this.localDescription = description;
    this.transceivers.forEach((one, n) => (one.mid ??= String(n)));
  }
  async setRemoteDescription(description) {
    this.remoteDescription = description;
    this.signalingState = 'stable';
    this.ice('connected');
  }
  ice(state) {
    if (this.iceConnectionState === state) return;
    this.iceConnectionState = state;
    this.oniceconnectionstatechange?.();
  }
  close() {
    this.closed = true;
  }
  async getStats() {
    return new Map(this.stats?.map((one) => [one.id, one]));
  }
}

const DESCRIPTOR = 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';

/** A transceiver that can be told about codecs and header extensions. */
class Configurable extends FakePeerConnection {
  addTransceiver(trackOrKind, init) {
    const transceiver = super.addTransceiver(trackOrKind, init);
    let extensions = [DESCRIPTOR, 'urn:x'].map((uri) => ({ uri, direction: 'stopped' }));
    return Object.assign(transceiver, {
      setCodecPreferences: (codecs) => (transceiver.codecs = codecs.map(({ mimeType }) => mimeType)),
      getHeaderExtensionsToNegotiate: () => extensions,
      setHeaderExtensionsToNegotiate: (wanted) => (extensions = wanted),
      offered: () => extensions.filter(({ direction }) => direction !== 'stopped').map(({ uri }) => uri),
      stop: () => (transceiver.stopped = true),
    });
  }
}

/** Its senders have encodings, and mind parameters that were read before another change. */
class Simulcasting extends FakePeerConnection {
  addTransceiver(trackOrKind, init) {
    const transceiver = super.addTransceiver(trackOrKind, init);
    let encodings = (init.sendEncodings ?? [{}]).map((encoding) => ({ ...encoding, active: true }));
    let changing = 0;
    const sender = {
      ...transceiver.sender,
      mostAtOnce: 0,
      active: () => encodings.map(({ active }) => active),
      getParameters: () => ({ encodings: encodings.map((encoding) => ({ ...encoding })) }),
      setParameters: async (parameters) => {
        sender.mostAtOnce = Math.max(sender.mostAtOnce, ++changing);
        await null;
        changing -= 1;
        ({ encodings } = parameters);
      },
    };
    return Object.assign(transceiver, { sender });
  }
}

const track = (kind) => ({ kind, enabled: true, getSettings: () => ({ width: 320 }) });

describe('a session', () => {
  let script;
  let windowListeners;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    script = new Script();
    FakePeerConnection.all = [];
    globalThis.WebSocket = fakeSocket(script);
    globalThis.RTCPeerConnection = FakePeerConnection;
    windowListeners = {};
    globalThis.addEventListener = (type, listener) => (windowListeners[type] = listener);
  });

  afterEach(() => mock.timers.reset());

  /** Lets virtual time pass in small steps, so that promises settle between them. */
  async function pass(milliseconds) {
    for (let at = 0; at < milliseconds; at += 10) {
      for (let turn = 0; turn < 12; turn++) await null;
      mock.timers.tick(10);
    }
    for (let turn = 0; turn < 12; turn++) await null;
  }

  async function joined() {
    const joining = join({ url: 'ws://host/session', room: 'tea', name: 'Ada', token: 'secret' });
    joining.catch(() => {});
    await pass(10);
    return joining;
  }

  async function publishing(kinds = ['audio', 'video']) {
    const session = await joined();
    kinds.forEach((kind) => session.publish(track(kind)));
    await pass(100);
    return session;
  }

  it('shares one offer among tracks published together', async () => {
    const session = await publishing();
    assert.deepEqual(script.types, ['join', 'offer']);
    assert.deepEqual([...session.publications].map(({ producer }) => producer), [101, 102]);
  });

  it('has one offer in flight, whatever is wanted meanwhile', async () => {
    const session = await joined();
    session.publish(track('audio'));
    await pass(20);
    script.say({ type: 'negotiate', audio: 1, video: 1 });
    script.say({ type: 'negotiate', audio: 2, video: 2 });
    await pass(300);
    assert.equal(script.mostOffersInFlight, 1);
    assert.deepEqual(script.types, ['join', 'offer', 'offer']);
    assert.equal(session.peerConnection.transceivers.filter(({ direction }) => direction === 'recvonly').length, 4);
  });

  it('resumes after a broken socket, without a new offer while media flows', async () => {
    const session = await publishing();
    const states = [];
    session.addEventListener('state', ({ detail }) => states.push(detail));
    script.sockets.at(-1).break();
    await pass(400);
    assert.deepEqual(states, ['reconnecting', 'connected']);
    assert.deepEqual(script.types.filter((type) => type === 'offer').length, 1);
    assert.ok(script.types.includes('resume'));
  });

  it('sends an offer again that the broken socket swallowed', async () => {
    const session = await joined();
    script.answerOffers = false;
    const published = session.publish(track('audio'));
    await pass(20);
    script.answerOffers = true;
    script.sockets.at(-1).break();
    await pass(500);
    assert.deepEqual(script.types, ['join', 'offer', 'resume', 'offer']);
    assert.equal((await published).producer, 101);
  });

  it('restarts ICE by itself when the path is lost', async () => {
    const session = await publishing();
    session.peerConnection.ice('disconnected');
    assert.equal(session.state, 'reconnecting');
    await pass(1_200);
    assert.equal(session.peerConnection.restarts, 1);
    assert.equal(session.state, 'connected');
  });

  it('does not wait for the old path when the network comes back', async () => {
    const session = await publishing();
    windowListeners.online();
    windowListeners.online();
    await pass(200);
    assert.equal(session.peerConnection.restarts, 1);
    assert.equal(session.state, 'connected');
  });

  it('gives up a socket that died silently, and restarts ICE after resuming', async () => {
    const session = await publishing();
    script.answer = () => {};
    session.peerConnection.ice('disconnected');
    await pass(1_100);
    delete script.answer;
    await pass(2_600);
    assert.ok(script.types.includes('resume'), script.types.join());
    assert.ok(session.peerConnection.restarts >= 1);
    assert.equal(session.state, 'connected');
  });

  it('joins anew and publishes the same tracks after a restart of the host', async () => {
    const session = await publishing();
    const [audio] = session.publications;
    await audio.pause();
    Object.assign(script, { up: false, gone: true });
    script.sockets.at(-1).break();
    await pass(4_000);
    assert.equal(session.state, 'reconnecting');
    script.up = true;
    await pass(2_600);
    assert.equal(session.state, 'connected');
    assert.equal(FakePeerConnection.all.length, 2);
    assert.ok(FakePeerConnection.all[0].closed);
    assert.deepEqual(script.types.slice(-4), ['resume', 'join', 'offer', 'pause']);
    assert.deepEqual([...session.publications].map(({ producer }) => producer), [103, 104]);
  });

  it('tells who left and who came while it was away', async () => {
    script.people = [{ person: 2, name: 'Grace' }];
    script.tracks = [{ producer: 9, person: 2, kind: 'audio', source: 'microphone' }];
    const session = await joined();
    const told = [];
    for (const type of ['person-left', 'person-joined', 'track-ended']) {
      session.addEventListener(type, ({ detail }) => told.push([type, detail.name ?? detail.producer]));
    }
    Object.assign(script, { people: [{ person: 3, name: 'Alan' }], tracks: [] });
    script.sockets.at(-1).break();
    await pass(400);
    assert.deepEqual(told, [['track-ended', 9], ['person-left', 'Grace'], ['person-joined', 'Alan']]);
  });

  it('joins at once when the host says that it restarts', async () => {
    const session = await publishing();
    script.say({ type: 'ended', code: 'stopping', message: 'The host restarts.', rejoin: true });
    await pass(500);
    assert.equal(session.state, 'connected');
    assert.ok(!script.types.includes('resume'));
  });

  it('ends when the host closes a transport that never came up', async () => {
    const session = await publishing();
    let reason;
    session.addEventListener('ended', ({ detail }) => (reason = detail));
    script.say({ type: 'transport', state: 'connecting' });
    script.say({ type: 'transport', state: 'closed' });
    await pass(1_000);
    assert.equal(reason.code, 'transport-closed');
    assert.equal(script.sockets.length, 1);
  });

  it('comes back ever more slowly when the host closes each transport again', async () => {
    const session = await publishing();
    const comings = [];
    for (let second = 0; second < 8; second++) {
      for (let step = 0; step < 10; step++) {
        if (session.state === 'connected') {
          script.say({ type: 'transport', state: 'connected' });
          script.say({ type: 'transport', state: 'closed' });
        }
        await pass(100);
      }
      comings.push(script.sockets.length);
    }
    assert.ok(comings.at(-1) <= 8, `sockets by second: ${comings}`);
  });

  it('ends with the reason when it is refused on coming back', async () => {
    const session = await publishing();
    let reason;
    session.addEventListener('ended', ({ detail }) => (reason = detail));
    Object.assign(script, { gone: true, refusal: { status: 403, code: 'token-expired', detail: 'The token expired.' } });
    script.sockets.at(-1).break();
    await pass(1_000);
    assert.deepEqual(reason, { code: 'token-expired', message: 'The token expired.' });
    assert.equal(session.state, 'ended');
  });

  it('keeps trying while the host is full', async () => {
    const session = await publishing();
    Object.assign(script, { gone: true, refusal: { status: 503, code: 'full', detail: 'The host is full.' } });
    script.sockets.at(-1).break();
    await pass(3_000);
    assert.equal(session.state, 'reconnecting');
    script.refusal = null;
    await pass(2_200);
    assert.equal(session.state, 'connected');
  });

  it('throws the reason when the first join is refused', async () => {
    script.refusal = { status: 403, code: 'not-invited', detail: 'Only invited people enter.' };
    await assert.rejects(joined(), { name: 'SessionError', status: 403, code: 'not-invited', message: 'Only invited people enter.' });
  });

  it('asks again when the host could not decide the first join', async () => {
    script.refusal = { status: 503, code: 'authorize-deadline', detail: 'Please try again.' };
    const entering = joined();
    await pass(300);
    script.refusal = null;
    await pass(1_000);
    assert.notEqual((await entering).state, 'ended');
    script.refusal = { status: 503, code: 'authorize-deadline', detail: 'Please try again.' };
    const refused = assert.rejects(joined(), { status: 503, code: 'authorize-deadline' });
    await pass(5_000);
    await refused;
  });

  it('fails a publication that the host refuses, and frees its section', async () => {
    const session = await joined();
    const answer = script.answer;
    script.answer = (socket, message) => message.type !== 'offer'
      ? answer.call(script, socket, message)
      : socket.deliver({ type: 'ok', id: message.id, sdp: 'answer', refused: message.tracks.map(({ mid }) => ({ mid, code: 'not-granted', message: 'You may not send.' })) });
    const published = session.publish(track('audio'));
    published.catch(() => {});
    await pass(50);
    await assert.rejects(published, { code: 'not-granted' });
    assert.equal(session.publications.size, 0);
    assert.equal(session.peerConnection.transceivers[0].direction, 'inactive');
  });

  it('says which codec and extensions it prefers before it offers', async () => {
    globalThis.RTCPeerConnection = Configurable;
    globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [{ mimeType: 'video/VP8' }, { mimeType: 'video/VP9' }] }) };
    const session = await joined();
    session.publish(track('video'), { codec: 'VP9', extensions: ['urn:x'] });
    session.publish(track('video'));
    script.say({ type: 'negotiate', audio: 0, video: 1 });
    await pass(200);
    const [chosen, plain, receiving] = session.peerConnection.transceivers;
    assert.deepEqual([chosen.codecs, plain.codecs], [['video/VP9', 'video/VP8'], undefined]);
    assert.deepEqual(chosen.offered(), [DESCRIPTOR, 'urn:x']);
    assert.deepEqual([plain, receiving].map((one) => one.offered()), [[DESCRIPTOR], [DESCRIPTOR]]);
    await assert.rejects(session.publish(track('video'), { codec: 'H265' }), { code: 'codec-missing', status: 406 });
    assert.equal(session.publications.size, 2);
    assert.ok(session.peerConnection.transceivers.at(-1).stopped);
  });

  it('does not reuse a section that was made for another codec', async () => {
    globalThis.RTCPeerConnection = Configurable;
    globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [{ mimeType: 'video/VP8' }, { mimeType: 'video/VP9' }] }) };
    const session = await joined();
    for (const codec of ['VP8', 'VP9', 'VP8']) {
      const published = session.publish(track('video'), { codec });
      await pass(100);
      (await published).close();
      await pass(100);
    }
    assert.equal(session.peerConnection.transceivers.length, 2);
  });

  it('sends only the encodings that somebody watches, and all of them for the next track of that section', async () => {
    globalThis.RTCPeerConnection = Simulcasting;
    const session = await joined();
    const wide = { ...track('video'), getSettings: () => ({ width: 1280 }) };
    const publishing = session.publish(wide);
    await pass(100);
    const publication = await publishing;
    const { sender } = session.peerConnection.transceivers[0];
    script.say({ type: 'watched', producer: publication.producer, encodings: [true, false, false] });
    script.say({ type: 'watched', producer: publication.producer, encodings: [true, false, true] });
    await pass(20);
    assert.deepEqual(sender.active(), [true, false, true]);
    assert.equal(sender.mostAtOnce, 1);
    script.say({ type: 'watched', producer: 77, encodings: [true, false, false] });
    publication.close();
    await pass(20);
    session.publish(wide);
    await pass(100);
    assert.deepEqual(sender.active(), [true, true, true]);
  });

  it('shows each new sender and receiver to the encoded transform once, and again after a rejoin', async () => {
    const seen = [];
    const joining = join({ url: 'ws://host/session', room: 'tea', name: 'Ada', encodedTransform: (end, kind) => seen.push([kind, Boolean(end.replaceTrack)]) });
    await pass(10);
    const session = await joining;
    session.publish(track('audio'));
    script.say({ type: 'negotiate', audio: 0, video: 1 });
    await pass(200);
    const both = [['audio', true], ['video', false]];
    assert.deepEqual(seen, both);
    Object.assign(script, { gone: true });
    script.sockets.at(-1).break();
    await pass(1_000);
    script.say({ type: 'negotiate', audio: 0, video: 1 });
    await pass(200);
    assert.deepEqual(seen, [...both, ...both]);
  });

  it('asks for sizes of one stream that may hold layers', async () => {
    script.people = [{ person: 2, name: 'Grace' }];
    script.tracks = ['vp9', 'vp8'].map((codec, n) => ({ producer: n, person: 2, kind: 'video', source: 'camera', codec, encodings: 1 }));
    const session = await joined();
    assert.deepEqual([...session.tracks.values()].map(({ codec, layers }) => [codec, layers]), [['vp9', 3], ['vp8', 1]]);
  });

  it("tells how well everyone's media gets through, and when that changes", async () => {
    script.people = [{ person: 2, name: 'Grace' }];
    script.tracks = [{ producer: 7, person: 2, kind: 'video', source: 'camera', codec: 'vp8', encodings: 1 }];
    script.receiving = [{ mid: '0', ...script.tracks[0] }];
    const session = await joined();
    const told = [];
    session.addEventListener('quality', ({ detail }) => told.push([...detail.values()].map(({ person, level }) => [person, level])));
    await pass(100);
    const stream = { id: 'in', type: 'inbound-rtp', mid: '0', timestamp: 0, bytesReceived: 0, packetsReceived: 0, packetsLost: 0, framesDecoded: 0 };
    const pair = { id: 'pair', type: 'candidate-pair', currentRoundTripTime: 0.02, availableOutgoingBitrate: 900_000 };
    session.peerConnection.stats = [stream, pair, { id: 't', type: 'transport', selectedCandidatePairId: 'pair' }];
    const look = async (received, lost, frames) => {
      stream.timestamp += 2_000;
      stream.bytesReceived += received * 1_000;
      stream.packetsReceived += received;
      stream.packetsLost += lost;
      stream.framesDecoded += frames;
      await pass(2_000);
    };
    await look(100, 0, 30);
    await look(100, 0, 30);
    assert.deepEqual(told, [[[2, 3], [1, 3]]], 'told once');
    assert.deepEqual(session.quality.get(2), { person: 2, level: 3, loss: 0, roundTripMs: null, kbps: 400 });
    assert.deepEqual(session.quality.get(1), { person: 1, level: 3, loss: 0, roundTripMs: 20, kbps: 900 });
    await look(90, 10, 30);
    assert.deepEqual(told.at(-1), [[2, 2], [1, 2]], 'a bad way to here shows at both');
    await look(100, 0, 30);
    const heard = { id: 'out', type: 'remote-inbound-rtp', timestamp: 0, fractionLost: 0.5 };
    session.peerConnection.stats.push(heard);
    await look(100, 0, 30);
    heard.timestamp += 2_000;
    await look(100, 0, 30);
    assert.deepEqual([session.quality.get(1).level, session.quality.get(1).loss], [1, 0.5], 'what the host loses of ours');
    await look(0, 0, 0);
    assert.deepEqual(told.at(-1), [[2, 0], [1, 3]], 'a camera that shows nothing new and sends nothing is lost');
    script.say({ type: 'person-left', person: 2 });
    await pass(2_000);
    assert.deepEqual(told.at(-1), [[1, 3]]);
    await session.leave();
    const times = told.length;
    await pass(5_000);
    assert.equal(told.length, times, 'nothing is told of a session that is over');
  });

  it('tells of oneself that the way out is too narrow, and that there is none', async () => {
    const session = await joined();
    await pass(100);
    const sending = { id: 'out', type: 'outbound-rtp', timestamp: 0, qualityLimitationReason: 'bandwidth' };
    const pair = { id: 'pair', type: 'candidate-pair', currentRoundTripTime: 0.02, availableOutgoingBitrate: 90_000 };
    session.peerConnection.stats = [sending, pair, { id: 't', type: 'transport', selectedCandidatePairId: 'pair' }];
    const level = async () => {
      await pass(2_000);
      return session.quality.get(1).level;
    };
    assert.equal(await level(), 2, 'held back');
    sending.qualityLimitationReason = 'none';
    assert.equal(await level(), 3);
    script.up = false;
    script.sockets.at(-1).break();
    assert.equal(await level(), 0, 'cut off');
    await session.leave();
  });

  it('leaves for good', async () => {
    const session = await publishing();
    session.leave();
    await pass(3_000);
    assert.equal(session.state, 'ended');
    assert.equal(script.types.at(-1), 'leave');
    assert.equal(script.sockets.length, 1);
    await assert.rejects(session.publish(track('audio')), { code: 'ended' });
  });

  it('says texts over the session until the room channel is open, and then over that', async () => {
    const session = await joined();
    const heard = [];
    session.addEventListener('message', ({ detail }) => heard.push(detail));
    session.send('early');
    await pass(20);
    assert.deepEqual(script.heard.at(-1), { type: 'message', id: script.heard.at(-1).id, text: 'early' });
    await assert.rejects(session.send('x'.repeat(16_385)), { code: 'message-too-long' });
    await assert.rejects(session.send(new Uint8Array(3)), { code: 'channel-closed' });

    const own = session.openChannel('files', { ordered: false });
    assert.equal(session.openChannel('files'), own);
    await pass(200);
    const [room, files] = FakePeerConnection.all.at(-1).channels;
    assert.deepEqual([room.label, room.protocol, files.label, files.ordered], ['room', 'tidegate.room.v1', 'files', false]);
    room.readyState = 'open';
    await session.send('late');
    assert.deepEqual(room.sent, ['late']);

    room.onmessage({ data: frame('by channel', 7).buffer });
    script.say({ type: 'message', person: 8, text: 'by session' });
    await pass(20);
    assert.deepEqual(heard, [{ person: 7, data: 'by channel' }, { person: 8, data: 'by session' }]);
    files.readyState = 'open';
    assert.throws(() => own.send(new Uint8Array(262_133)), { code: 'message-too-long', message: /262132/ });
  });

  it('opens a channel again that the host closed, and all of them on a new connection', async () => {
    const session = await joined();
    session.openChannel('files');
    await pass(200);
    const pc = FakePeerConnection.all.at(-1);
    pc.channels[1].onclose();
    await pass(1_200);
    assert.deepEqual(pc.channels.map(({ label }) => label), ['room', 'files', 'files']);
    script.gone = true;
    script.sockets.at(-1).break();
    await pass(3_000);
    assert.notEqual(FakePeerConnection.all.at(-1), pc);
    assert.deepEqual(FakePeerConnection.all.at(-1).channels.map(({ label }) => label), ['room', 'files']);
  });
});
