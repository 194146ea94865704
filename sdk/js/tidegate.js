/**
 * The browser's side of a Tidegate session: one WebSocket, one peer connection, and their repair.
 * Knows nothing of pages, layouts or devices: it is given tracks and elements.
 *
 *     import { join } from '/sdk/tidegate.js';
 *     const session = await join({ room: 'hello', name: 'Ada' });
 *     session.addEventListener('track', ({ detail: track }) => session.attach(track, elementFor(track)));
 *     await session.publish(microphone, { source: 'microphone' });
 *
 * Media path: publish → transceiver → offer (one in flight) → answer → producer. The other way round:
 * the host says `negotiate` → recvonly transceivers → offer → answer names what each section receives.
 */

const SUBPROTOCOL = 'tidegate.v1';
const REQUEST_TIMEOUT_MS = 10_000;
/** Asked when the socket was silent for so long: a dead TCP connection tells nobody. */
const SILENCE_MS = 10_000;
const PROBE_TIMEOUT_MS = 2_000;
const RETRY_FIRST_MS = 250;
/** More spares the host while it is down, less returns sooner: a restart must be mended within 5 s. */
const FIRST_RETRIES = 3;
const RETRY_MOST_MS = 2_000;
/** A connection that breaks sooner than this after coming back waits longer the next time. */
const HELD_MS = 10_000;
/** A lost check or two is no reason to restart ICE; a second of them is. */
const ICE_PATIENCE_MS = 1_000;
const ICE_RESTART_EVERY_MS = 4_000;
/** Growing is asked for at once, shrinking only when it lasted: a layout that flickers costs keyframes. */
const GROW_AFTER_MS = 50;
const SHRINK_AFTER_MS = 500;

/** How often it is looked at how well everyone's media gets through, and beyond what it is fair or poor. */
const QUALITY_EVERY_MS = 2_000;
const FAIR = { loss: 0.03, roundTripMs: 250 };
const POOR = { loss: 0.1, roundTripMs: 600 };
/** Fewer packets than this say nothing of a share that is lost. */
const LOSS_OF_PACKETS = 10;

/** With it the host tells layers and keyframes apart without looking at the payload. Browsers leave it out by default. */
const DEPENDENCY_DESCRIPTOR = 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';
/** One stream of these may hold spatial layers (SVC); how many is told nowhere, so as many as anybody sends. */
const LAYERED_CODECS = ['vp9', 'av1'];
const SVC_LAYERS = 3;

/** The room's own data channel, and what is spoken on channels whose messages say whose they are. */
const ROOM_CHANNEL = 'room';
const ROOM_PROTOCOL = 'tidegate.room.v1';
/** Bytes before each message on such a channel: kind, three zeros, the person as a 64-bit number. */
const FRAME_BYTES = 12;
const MESSAGE_BYTES = 262_144 - FRAME_BYTES;
/** What fits a session where a data channel is missing. */
const SESSION_TEXT_BYTES = 16_384;
/** A channel that the host closed is opened again after so long. */
const REOPEN_MS = 1_000;

/** Why something was not done: the host's problem document, or what went wrong on the way to it. */
export class SessionError extends Error {
  constructor({ status = 0, code = 'failed', title = '', detail = '', field = undefined }) {
    super(detail || title || code);
    this.name = 'SessionError';
    this.status = status;
    this.code = code;
    this.title = title;
    this.field = field;
  }

  /** True where trying again later can help. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Enters a room; resolves once the host let us in. Throws a SessionError with the reason otherwise. */
export function join(options) {
  return Session.join(options);
}

/** Milliseconds to wait before the n-th attempt (from 0) to come back. */
export function retryDelay(attempt) {
  return Math.min(RETRY_FIRST_MS * 2 ** Math.min(attempt, 10), RETRY_MOST_MS);
}

/** The layer that fills an element of this width in device pixels: 0 small, 1 medium, 2 large. */
export function layerFor(width, encodings = 3) {
  const wanted = width <= 400 ? 0 : width <= 800 ? 1 : 2;
  return Math.max(0, Math.min(wanted, encodings - 1));
}

/**
 * What to send of a video of this width: lowest first. Below 960 wide Chromium sends two layers at most and
 * silently leaves the top one out, so two are all that is offered there. A scalability mode with spatial layers is one
 * stream; one with temporal layers alone is that of each stream.
 */
export function encodingsFor(width, simulcast = true, scalabilityMode = undefined) {
  const spatial = scalabilityMode && !scalabilityMode.startsWith('L1');
  if (spatial) return [{ scalabilityMode, maxBitrate: width >= 960 ? 2_500_000 : 800_000 }];
  const mode = scalabilityMode ? { scalabilityMode } : {};
  return simulcastFor(width, simulcast).map((encoding) => ({ ...encoding, ...mode }));
}

function simulcastFor(width, simulcast) {
  if (!simulcast || width < 640) return [{}];
  const full = { rid: 'f', scaleResolutionDownBy: 1, maxBitrate: width >= 960 ? 1_700_000 : 600_000 };
  const half = { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: width >= 960 ? 500_000 : 150_000 };
  const quarter = { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000 };
  return width >= 960 ? [quarter, half, full] : [half, full];
}

/** What figures mean to somebody in a call: 3 good, 2 fair, 1 poor, 0 nothing gets through. */
export function qualityLevel({ loss = 0, roundTripMs = 0, allowance = 'full', frozen = false, silent = false }) {
  if (silent) return 0;
  if (frozen || allowance === 'nothing' || loss > POOR.loss || roundTripMs > POOR.roundTripMs) return 1;
  if (allowance === 'reduced' || loss > FAIR.loss || roundTripMs > FAIR.roundTripMs) return 2;
  return 3;
}

/** A browser's codecs with the wanted ones (`VP9`, `H264`, …) first, in the order wanted; null where it has none. */
export function codecOrder(codecs, wanted) {
  const names = [wanted].flat().map((name) => name.toLowerCase());
  const rank = ({ mimeType }) => {
    const at = names.indexOf(mimeType.split('/')[1].toLowerCase());
    return at < 0 ? names.length : at;
  };
  if (!codecs.some((codec) => rank(codec) < names.length)) return null;
  return [...codecs].sort((one, other) => rank(one) - rank(other));
}

/** The WebSocket address of a host, from whatever names it: nothing, a path, an http or ws address. */
export function sessionAddress(url, base) {
  const address = new URL(url ?? '/session', base);
  if (address.pathname === '/') address.pathname = '/session';
  address.protocol = address.protocol.replace(/^http/, 'ws');
  address.hash = '';
  return address.href;
}

/** The entries of `now` and `before` that only one of them holds, by key. */
export function difference(before, now) {
  return {
    gone: [...before.keys()].filter((key) => !now.has(key)),
    came: [...now.keys()].filter((key) => !before.has(key)),
  };
}

/** A message as it goes over a room's channel: text or bytes, and whose (0 towards the host). */
export function frame(message, person = 0) {
  const isText = typeof message === 'string';
  const bytes = isText ? new TextEncoder().encode(message) : bytesOf(message);
  const framed = new Uint8Array(FRAME_BYTES + bytes.length);
  framed[0] = isText ? 1 : 2;
  new DataView(framed.buffer).setBigUint64(4, BigInt(person));
  framed.set(bytes, FRAME_BYTES);
  return framed;
}

/** The other way round: `{ person, data }`, data being a string or an ArrayBuffer; null where it is no frame. */
export function unframe(buffer) {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < FRAME_BYTES) return null;
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  if (kind !== 1 && kind !== 2) return null;
  const person = Number(view.getBigUint64(4));
  const bytes = buffer.slice(FRAME_BYTES);
  return { person, data: kind === 1 ? new TextDecoder().decode(bytes) : bytes };
}

function bytesOf(data) {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
}

/** A promise with its handles outside. A failure that nobody waits for is no unhandled one. */
function deferred() {
  const handles = {};
  handles.promise = new Promise((resolve, reject) => Object.assign(handles, { resolve, reject }));
  handles.promise.catch(() => {});
  return handles;
}

/** Numbered requests over one WebSocket. Knows nothing of what they mean. */
class Channel {
  #socket;
  #next = 1;
  #waiting = new Map();
  #closed = false;
  onmessage = () => {};
  onclose = () => {};
  heardAt = performance.now();

  static open(url) {
    return new Promise((resolve, reject) => {
      const channel = new Channel();
      const socket = new WebSocket(url, SUBPROTOCOL);
      const unreachable = () => {
        clearTimeout(timer);
        socket.close();
        reject(new SessionError({ code: 'unreachable', detail: 'The host cannot be reached.' }));
      };
      const timer = setTimeout(unreachable, REQUEST_TIMEOUT_MS);
      socket.onclose = unreachable;
      socket.onopen = () => {
        clearTimeout(timer);
        channel.#adopt(socket);
        resolve(channel);
      };
    });
  }

  #adopt(socket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ reason }) => this.#end(reason);
  }

  request(type, fields = {}, timeout = REQUEST_TIMEOUT_MS) {
    const { promise, resolve, reject } = deferred();
    if (this.#closed) {
      reject(Channel.#broken());
      return promise;
    }
    const id = this.#next++;
    const timer = setTimeout(() => {
      this.#waiting.delete(id);
      reject(new SessionError({ status: 504, code: 'timeout', detail: `The host did not answer “${type}”.` }));
    }, timeout);
    this.#waiting.set(id, { resolve, reject, timer });
    this.#socket.send(JSON.stringify({ type, id, ...fields }));
    return promise;
  }

  /** Ends it from here; the peer may be long gone, so nothing waits for its goodbye. */
  close() {
    this.#socket.close(1000);
    this.#end('');
  }

  #hear(data) {
    this.heardAt = performance.now();
    const message = JSON.parse(data);
    if (message.type !== 'ok' && message.type !== 'error') return this.onmessage(message);
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.type === 'ok') waiting.resolve(message);
    else waiting.reject(new SessionError(message));
  }

  #end(reason) {
    if (this.#closed) return;
    this.#closed = true;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(Channel.#broken(reason));
    }
    this.#waiting.clear();
    this.onclose(reason);
  }

  static #broken(reason) {
    return new SessionError({ code: 'socket-closed', detail: reason || 'The connection to the host broke.' });
  }
}

/** A track that this person sends. Outlives reconnections: the session publishes it again by itself. */
class Publication {
  producer = null;
  paused = false;
  /** Which of its encodings somebody watches, lowest first. */
  watched = [];
  /** @internal */ obeying = Promise.resolve();
  /** @internal */ transceiver = null;
  /** @internal */ settled = deferred();
  #session;

  constructor(session, track, { source, simulcast, codec, scalabilityMode, extensions = [] }) {
    this.#session = session;
    this.track = track;
    this.kind = track.kind;
    this.source = source ?? (track.kind === 'audio' ? 'microphone' : 'camera');
    const width = track.getSettings?.().width ?? 0;
    const several = simulcast ?? this.source !== 'screen';
    this.encodings = track.kind === 'video' ? encodingsFor(width, several, scalabilityMode) : [{}];
    this.codec = codec;
    this.extensions = extensions;
  }

  /** @internal What a section must have been made for to carry it. */
  get shape() {
    const encodings = this.encodings.map(({ rid, scalabilityMode }) => [rid, scalabilityMode]);
    return JSON.stringify([this.kind, encodings, this.codec, this.extensions]);
  }

  /** Stops it for everyone, at the host; the track falls silent here too. */
  pause() {
    return this.#session._setPaused(this, true);
  }

  /** Goes on after pause(). */
  continue() {
    return this.#session._setPaused(this, false);
  }

  /** Sends another track of the same kind in its place (another device), without negotiation. */
  async replace(track) {
    await this.transceiver?.sender.replaceTrack(track);
    this.track = track;
    if (track) track.enabled = !this.paused;
  }

  /** Ends it. */
  close() {
    return this.#session._unpublish(this);
  }
}

/** A track of somebody else. */
class RemoteTrack {
  constructor(view) {
    this.producer = view.producer;
    this.person = view.person;
    this.source = view.source;
    this.kind = view.kind;
    this.paused = Boolean(view.paused);
    this.encodings = view.encodings ?? 1;
    /** What it is sent in: `vp8`, `vp9`, `h264`, `av1`, `opus` or `red`. */
    this.codec = view.codec ?? null;
    /** How many sizes of it can be asked for. */
    this.layers = this.encodings === 1 && LAYERED_CODECS.includes(this.codec) ? SVC_LAYERS : this.encodings;
    /** The encoding that the host sends now; null while nothing fits. */
    this.encoding = null;
    /** `full`, `reduced` or `nothing`: whether there is room for what is wanted of it. */
    this.allowance = 'full';
    /** The section that carries it; null until negotiated. */
    this.mid = null;
    /** @type {MediaStreamTrack | null} */
    this.mediaStreamTrack = null;
  }
}

/**
 * Tells from the browser's counters how well each person's media gets through: others' as it arrives here, one's own
 * by both ways to the host. Knows nothing of sessions.
 */
class QualityMeter {
  #counters = new Map();
  #losses = new Map();

  /** One look; `own` says who this is and whether the path stands. Returns a quality by person, where it is known. */
  read(report, own, tracks) {
    const stats = [...report.values()];
    const streams = new Map(stats.filter(({ type }) => type === 'inbound-rtp').map((one) => [one.mid, one]));
    const people = new Map();
    for (const track of tracks) {
      const stream = track.mid !== null && streams.get(track.mid);
      if (stream) this.#add(people, track, this.#since(stream));
    }
    const quality = new Map();
    for (const [person, { allowance, frozen, bytes, lost, received, ms }] of people) {
      const loss = this.#smooth(person, lost, received);
      const level = qualityLevel({ loss, allowance, frozen, silent: frozen && bytes === 0 });
      quality.set(person, { person, level, loss, roundTripMs: null, kbps: ms > 0 ? Math.round((bytes * 8) / ms) : 0 });
    }
    const pair = report.get(stats.find(({ type }) => type === 'transport')?.selectedCandidatePairId);
    if (pair || !own.connected) quality.set(own.person, this.#own(own, stats, pair, [...people.values()]));
    return quality;
  }

  #own({ person, connected }, stats, pair, people) {
    const sum = (name) => people.reduce((total, one) => total + one[name], 0);
    const incoming = this.#smooth(person, sum('lost'), sum('received'));
    // Nothing is heard any more of an encoding that is not sent any more.
    const told = stats.filter((one) => one.type === 'remote-inbound-rtp' && this.#since(one).ms > 0).map(({ fractionLost = 0 }) => fractionLost);
    const loss = Math.max(incoming, ...told);
    const roundTripMs = pair?.currentRoundTripTime === undefined ? null : Math.round(pair.currentRoundTripTime * 1_000);
    const held = stats.some(({ type, qualityLimitationReason }) => type === 'outbound-rtp' && qualityLimitationReason === 'bandwidth');
    const level = qualityLevel({
      loss, roundTripMs: roundTripMs ?? 0, allowance: held ? 'reduced' : 'full', silent: !connected,
    });
    return { person, level, loss, roundTripMs, kbps: Math.round((pair?.availableOutgoingBitrate ?? 0) / 1_000) };
  }

  #add(people, { person, source, paused, allowance }, since) {
    const sum = people.get(person) ?? { allowance: 'full', frozen: false, bytes: 0, lost: 0, received: 0, ms: 0 };
    people.set(person, sum);
    for (const name of ['bytes', 'lost', 'received']) sum[name] += since[name];
    sum.ms = Math.max(sum.ms, since.ms);
    if (allowance === 'nothing' || sum.allowance === 'full') sum.allowance = allowance;
    // A shared screen may rest, and so may a sound that is not among the loudest; a camera does not.
    if (source === 'camera' && !paused && allowance !== 'nothing' && since.ms > 0 && since.frames === 0) sum.frozen = true;
  }

  /** What a stream's counters grew by since the last look. */
  #since({ id, timestamp, bytesReceived = 0, packetsLost = 0, packetsReceived = 0, framesDecoded = 0 }) {
    const now = { ms: timestamp, bytes: bytesReceived, lost: packetsLost, received: packetsReceived, frames: framesDecoded };
    const before = this.#counters.get(id) ?? now;
    this.#counters.set(id, now);
    return Object.fromEntries(Object.keys(now).map((name) => [name, Math.max(0, now[name] - before[name])]));
  }

  /** One bad moment is not yet a bad connection. */
  #smooth(person, lost, received) {
    const before = this.#losses.get(person) ?? 0;
    const all = lost + received;
    const now = all < LOSS_OF_PACKETS ? before : (before + lost / all) / 2;
    this.#losses.set(person, now);
    return now;
  }
}

/**
 * Messages to everyone else in the room who opened a channel of the same label. Outlives reconnections. Events:
 * `message` ({ person, data }), `open`, `close`. Knows nothing of sessions but what it is given.
 */
export class RoomChannel extends EventTarget {
  #channel = null;
  #options;
  #reopen;
  #timer = null;
  #closed = false;

  /** @internal */
  constructor(label, options, reopen) {
    super();
    this.label = label;
    this.#options = options;
    this.#reopen = reopen;
  }

  get isOpen() {
    return this.#channel?.readyState === 'open';
  }

  /** Bytes that wait to be sent. */
  get bufferedAmount() {
    return this.#channel?.bufferedAmount ?? 0;
  }

  /** Sends a string, an ArrayBuffer or a view of one. Throws a SessionError where it is too long or nothing is open. */
  send(data) {
    const framed = frame(data);
    if (framed.length > FRAME_BYTES + MESSAGE_BYTES) {
      const detail = `A message holds at most ${MESSAGE_BYTES} bytes; this one has ${framed.length - FRAME_BYTES}.`;
      throw new SessionError({ status: 413, code: 'message-too-long', detail });
    }
    if (!this.isOpen) throw new SessionError({ status: 409, code: 'channel-closed', detail: 'The channel is not open.' });
    this.#channel.send(framed);
  }

  /** Ends it here; others' channels stay. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#channel?.close();
  }

  /** @internal Opens it on a peer connection, once for each. */
  _openOn(pc) {
    if (this.#closed || this.#channel) return;
    const channel = pc.createDataChannel?.(this.label, { ...this.#options, protocol: ROOM_PROTOCOL });
    if (!channel) return;
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.onopen = () => channel === this.#channel && this.dispatchEvent(new CustomEvent('open'));
    channel.onclose = () => channel === this.#channel && this.#onClose();
    channel.onmessage = ({ data }) => this._onMessage(unframe(data));
  }

  /** @internal The peer connection is gone. */
  _forget() {
    clearTimeout(this.#timer);
    this.#channel = null;
  }

  /** @internal */
  _onMessage(message) {
    if (message) this.dispatchEvent(new CustomEvent('message', { detail: message }));
  }

  #onClose() {
    this.#channel = null;
    this.dispatchEvent(new CustomEvent('close'));
    if (!this.#closed) this.#timer = setTimeout(this.#reopen, REOPEN_MS);
  }
}

/** One person in one room. Made by join(). */
export class Session extends EventTarget {
  #options;
  #address;
  #channel = null;
  #channelOpen = deferred();
  #resumeKey = null;
  #pc = null;
  #state = 'connecting';
  #people = new Map();
  #tracks = new Map();
  #publications = new Set();
  #roomChannels = new Map();
  #idleSenders = [];
  #wantedSections = { audio: 0, video: 0 };
  #negotiating = null;
  #offerWanted = false;
  #restartWanted = false;
  #recovering = false;
  #attempt = 0;
  #backAt = -Infinity;
  #wakeRecovery = () => {};
  #iceTimer = null;
  #everConnected = false;
  #tiles;
  #meter = new QualityMeter();
  #quality = new Map();
  #clock = null;
  #qualityClock = null;
  #stopListening = new AbortController();

  room;
  name;
  person = null;
  grant = null;
  place = null;
  /** Who speaks, the most dominant first. */
  speakers = [];

  static async join(options) {
    const session = new Session(options);
    let channel;
    try {
      channel = await session.#connect();
      await session.#enterAtFirst(channel);
    } catch (error) {
      channel?.close();
      session.#finish({ code: error.code, message: error.message }, false);
      throw error;
    }
    session.#listen();
    return session;
  }

  constructor(options) {
    super();
    this.#options = options;
    this.#address = sessionAddress(options.url, globalThis.location?.href);
    this.room = options.room;
    this.name = options.name;
    this.#tiles = new Tiles((track, spatial) => this.#askLayer(track, spatial));
    const room = this.#makeChannel(ROOM_CHANNEL, {});
    room.addEventListener('message', ({ detail }) => this.#emit('message', detail));
  }

  /** `connecting`, `connected`, `reconnecting` or `ended`. */
  get state() {
    return this.#state;
  }

  /** Everyone else, by id. */
  get people() {
    return this.#people;
  }

  /** Everyone else's tracks, by producer. */
  get tracks() {
    return this.#tracks;
  }

  /** What this person sends. */
  get publications() {
    return this.#publications;
  }

  /** How well whose media gets through, this person's own included; looked at every 2 s. */
  get quality() {
    return this.#quality;
  }

  /** The connection itself, for statistics; a rejoin replaces it. */
  get peerConnection() {
    return this.#pc;
  }

  /** Sends a track; resolves to its publication once the host took it. */
  async publish(track, options = {}) {
    this.#refuseEnded();
    const publication = new Publication(this, track, options);
    this.#addSender(publication);
    this.#publications.add(publication);
    this.#negotiate();
    await publication.settled.promise;
    return publication;
  }

  /**
   * Shows a track in a media element and asks for the layer that fits the element's size, as long as it is
   * attached. Returns a function that detaches it.
   */
  attach(track, element) {
    element.srcObject = track.mediaStreamTrack ? new MediaStream([track.mediaStreamTrack]) : null;
    if (track.kind === 'video') this.#tiles.add(track, element);
    return () => {
      this.#tiles.remove(element);
      element.srcObject = null;
    };
  }

  /** Asks for a layer by hand (0 lowest). An attached element's size overrules it at its next change. */
  setLayers(track, spatial, temporal) {
    return this.#request('layers', { producer: track.producer, spatial, temporal });
  }

  /** Stops receiving a track. */
  unsubscribe(track) {
    return this.#request('unsubscribe', { producer: track.producer });
  }

  /** Receives it again. */
  subscribe(track) {
    return this.#request('subscribe', { producer: track.producer });
  }

  /**
   * Says something to everyone else in the room, who get it as `message`. A text reaches people without a data
   * channel, too, and goes over the session while this one's is not open.
   */
  async send(data) {
    this.#refuseEnded();
    const room = this.#roomChannels.get(ROOM_CHANNEL);
    if (room.isOpen) return room.send(data);
    if (typeof data !== 'string') return room.send(data);
    if (new TextEncoder().encode(data).length > SESSION_TEXT_BYTES) {
      const detail = `Until the data channel is open a text holds at most ${SESSION_TEXT_BYTES} bytes.`;
      throw new SessionError({ status: 413, code: 'message-too-long', detail });
    }
    await this.#request('message', { text: data });
    return undefined;
  }

  /**
   * A channel of its own label to everyone who opens one of that label. `options` as for createDataChannel():
   * `ordered`, `maxRetransmits`, `maxPacketLifeTime`. Returns the RoomChannel, which opens by and by.
   */
  openChannel(label, options = {}) {
    this.#refuseEnded();
    const known = this.#roomChannels.get(label);
    if (known) return known;
    const channel = this.#makeChannel(label, options);
    this.#negotiate();
    return channel;
  }

  /** The host's counters of this transport. */
  async hostStats() {
    return (await this.#request('stats')).stats;
  }

  /** The browser's own statistics. */
  getStats() {
    return this.#pc.getStats();
  }

  /** Leaves; the session ends with code `left`. */
  async leave() {
    if (this.#state === 'ended') return;
    const channel = this.#channel;
    const goodbye = channel?.request('leave', {}, 1_000);
    this.#finish({ code: 'left', message: 'You left the room.' }, true);
    await goodbye?.catch(() => {});
    channel?.close();
  }

  // Entering and coming back

  async #connect() {
    const channel = await Channel.open(this.#address);
    channel.onmessage = (message) => this.#onMessage(channel, message);
    channel.onclose = () => this.#onClosed(channel);
    return channel;
  }

  /** The first join: a host that could not decide or is full just now is asked a few times more. */
  async #enterAtFirst(channel) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#enter(channel);
      } catch (error) {
        if (!(error instanceof SessionError) || !error.passing || attempt === FIRST_RETRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, retryDelay(attempt)));
      }
    }
  }

  async #enter(channel) {
    const { room, name, token, attrs } = this.#options;
    const bearer = typeof token === 'function' ? await token() : token;
    const entered = await channel.request('join', { room, name, token: bearer || undefined, attrs });
    this.#closePeerConnection();
    // A host that restarted counts its ids anew: whoever has an old one is not the same person.
    for (const person of [...this.#people.keys()]) this.#personLeft(person);
    this.#openPeerConnection();
    this.#takeUp(channel, entered);
    for (const publication of this.#publications) this.#addSender(publication);
    const receiving = (kind) => [...this.#tracks.values()].filter((track) => track.kind === kind).length;
    this.#wantSections({ audio: receiving('audio'), video: receiving('video') });
    // The room's own channel waits for something else to negotiate: until then the session carries its texts.
    if (this.#publications.size > 0 || this.#roomChannels.size > 1) this.#negotiate();
  }

  async #resume(channel) {
    this.#takeUp(channel, await channel.request('resume', { resume: this.#resumeKey }));
    for (const publication of this.#publications) this.#tellPaused(publication);
    this.#tiles.askAgain();
    if (!this.#iceConnected()) this.#restartIce();
  }

  #takeUp(channel, entered) {
    this.person = entered.person;
    this.name = entered.name ?? this.name;
    this.room = entered.room ?? this.room;
    this.grant = entered.grant ?? null;
    this.place = entered.place ?? null;
    this.#resumeKey = entered.resume;
    this.#channel = channel;
    this.#channelOpen.resolve();
    this.#reconcile(entered.people ?? [], entered.tracks ?? []);
    this.#refreshState();
  }

  /** Makes our picture of the room equal to the host's, telling each change. */
  #reconcile(people, tracks) {
    const others = new Map(people.filter((one) => one.person !== this.person).map((one) => [one.person, one]));
    const theirs = new Map(tracks.filter((one) => one.person !== this.person).map((one) => [one.producer, one]));
    for (const producer of difference(this.#tracks, theirs).gone) this.#trackEnded(producer);
    const changed = difference(this.#people, others);
    for (const person of changed.gone) this.#personLeft(person);
    for (const person of changed.came) this.#personJoined(others.get(person));
    for (const view of theirs.values()) this.#trackPublished(view);
  }

  #onClosed(channel) {
    if (channel !== this.#channel) return;
    this.#channel = null;
    this.#channelOpen = deferred();
    this.#recover();
  }

  /** Comes back, however long it takes; only a refusal ends it. One runs at a time. */
  async #recover() {
    if (this.#recovering || this.#state === 'ended') return;
    this.#recovering = true;
    this.#refreshState();
    if (performance.now() - this.#backAt > HELD_MS) this.#attempt = 0;
    while (this.#state !== 'ended' && !this.#channel) {
      await this.#waitForRetry(retryDelay(this.#attempt++));
      await this.#comeBack().catch((error) => this.#onRecoveryError(error));
    }
    this.#backAt = performance.now();
    this.#recovering = false;
  }

  async #comeBack() {
    if (this.#state === 'ended') return;
    const channel = await this.#connect();
    try {
      if (this.#resumeKey) await this.#resume(channel);
      else await this.#enter(channel);
    } catch (error) {
      channel.close();
      throw error;
    }
  }

  #onRecoveryError(error) {
    if (error.code === 'session-gone') {
      this.#resumeKey = null;
      this.#wakeRecovery = null;
    } else if (!(error instanceof SessionError) || !error.passing) {
      this.#finish({ code: error.code ?? 'failed', message: error.message }, true);
    }
  }

  /** Waits, unless the network comes back first; not at all after `session-gone`: the host is there. */
  #waitForRetry(milliseconds) {
    const atOnce = this.#wakeRecovery === null;
    return new Promise((resolve) => {
      this.#wakeRecovery = resolve;
      setTimeout(resolve, atOnce ? 0 : milliseconds);
    });
  }

  #rejoin() {
    this.#resumeKey = null;
    const channel = this.#channel;
    if (channel) channel.close();
    else this.#recover();
  }

  // The peer connection

  #openPeerConnection() {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', ...this.#options.rtcConfiguration });
    pc.oniceconnectionstatechange = () => pc === this.#pc && this.#onIceState();
    this.#pc = pc;
    this.#meter = new QualityMeter();
    this.#everConnected = false;
    this.#idleSenders = [];
    this.#wantedSections = { audio: 0, video: 0 };
    this.#restartWanted = false;
  }

  #closePeerConnection() {
    this.#stopIceRestarts();
    this.#pc?.close();
    this.#pc = null;
    for (const channel of this.#roomChannels.values()) channel._forget();
    for (const producer of [...this.#tracks.keys()]) this.#trackEnded(producer);
    for (const publication of this.#publications) {
      publication.transceiver = null;
      publication.producer = null;
    }
  }

  #iceConnected() {
    return ['connected', 'completed'].includes(this.#pc?.iceConnectionState);
  }

  #onIceState() {
    if (this.#iceConnected()) {
      this.#stopIceRestarts();
    } else if (['disconnected', 'failed'].includes(this.#pc.iceConnectionState)) {
      this.#restartUntilConnected();
    }
    this.#refreshState();
  }

  /** One restart may gather before the new address is there: repeat until one holds. */
  #restartUntilConnected() {
    let waited = 0;
    this.#iceTimer ??= setInterval(() => {
      if (waited++ % (ICE_RESTART_EVERY_MS / ICE_PATIENCE_MS) === 0) this.#restartIce();
    }, ICE_PATIENCE_MS);
  }

  #stopIceRestarts() {
    clearInterval(this.#iceTimer);
    this.#iceTimer = null;
  }

  /** New credentials, new candidates; and since the socket may have died with the old address, a probe. */
  #restartIce() {
    if (!this.#pc?.remoteDescription) return; // nothing to restart: the first offer is still to be answered
    this.#negotiate(true);
    this.#probe();
  }

  /** Asks the host for a sign of life; without one the socket is given up and the session resumed. */
  async #probe() {
    const channel = this.#channel;
    if (!channel) return this.#wakeRecovery?.();
    await channel.request('stats', {}, PROBE_TIMEOUT_MS).catch((error) => {
      if (error.code === 'timeout') channel.close();
    });
  }

  // Negotiation: one offer in flight; whatever is wanted meanwhile goes into the next

  #negotiate(restart = false) {
    this.#offerWanted = true;
    this.#restartWanted ||= restart;
    this.#negotiating ??= this.#negotiations();
  }

  async #negotiations() {
    try {
      while (this.#offerWanted && this.#state !== 'ended') {
        await this.#channelOpen.promise; // so that what is published in the same turn shares an offer
        this.#offerWanted = false;
        const pc = this.#pc;
        if (pc) await this.#offer(pc).catch((error) => this.#onOfferError(pc, error));
      }
    } finally {
      this.#negotiating = null;
    }
  }

  async #offer(pc) {
    this.#addSections(pc);
    const iceRestart = this.#restartWanted;
    this.#restartWanted = false;
    await pc.setLocalDescription(await pc.createOffer({ iceRestart }));
    const sending = [...this.#publications].filter(({ transceiver }) => transceiver?.mid);
    const tracks = sending.map(({ transceiver, source }) => ({ mid: transceiver.mid, source }));
    const answer = await this.#sendOffer(pc, { sdp: pc.localDescription.sdp, tracks });
    if (pc !== this.#pc) return;
    await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    this.#onAnswer(sending, answer);
  }

  /** The same offer again after a resume: the host may have answered it into the broken socket. */
  async #sendOffer(pc, offer) {
    for (;;) {
      await this.#channelOpen.promise;
      if (pc !== this.#pc) throw new SessionError({ code: 'superseded' });
      try {
        return await this.#request('offer', offer);
      } catch (error) {
        if (error.code !== 'socket-closed') throw error;
      }
    }
  }

  #onAnswer(sending, { published = [], refused = [], receiving = [] }) {
    const producers = new Map(published.map(({ mid, producer }) => [mid, producer]));
    const refusals = new Map(refused.map((refusal) => [refusal.mid, refusal]));
    for (const publication of sending) {
      const { mid } = publication.transceiver;
      if (refusals.has(mid)) this.#publishRefused(publication, refusals.get(mid));
      else if (producers.has(mid)) this.#published(publication, producers.get(mid));
      else if (!publication.producer) this.#publishRefused(publication, { code: 'not-taken', detail: 'The host did not take the track.' });
    }
    for (const section of receiving) this.#receiving(section);
  }

  async #onOfferError(pc, error) {
    if (pc !== this.#pc || this.#state === 'ended') return;
    if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
    if (error.passing || error.status === 504) {
      setTimeout(() => pc === this.#pc && this.#negotiate(!this.#iceConnected()), RETRY_MOST_MS);
      return;
    }
    for (const publication of this.#publications) {
      if (!publication.producer) this.#publishRefused(publication, error);
    }
    this.#emit('problem', error);
  }

  // Sending

  #addSender(publication) {
    const { track, kind, encodings, shape } = publication;
    const idle = this.#idleSenders.findIndex((one) => one.shape === shape);
    if (idle >= 0) {
      publication.transceiver = this.#idleSenders.splice(idle, 1)[0].transceiver;
      publication.transceiver.direction = 'sendonly';
      publication.transceiver.sender.replaceTrack(track).catch(() => {});
      this.#sendWatched(publication); // whoever had the section before may have left encodings off
    } else {
      const init = { direction: 'sendonly', sendEncodings: encodings.map((encoding) => ({ ...encoding })) };
      const transceiver = this.#pc.addTransceiver(track ?? kind, init);
      this.#prepare(transceiver, kind, transceiver.sender, publication);
      publication.transceiver = transceiver;
    }
  }

  /** Frees the section for the next track of its shape. */
  #releaseSender({ transceiver, shape }) {
    if (!transceiver || !this.#pc) return;
    transceiver.direction = 'inactive';
    transceiver.sender.replaceTrack(null).catch(() => {});
    this.#idleSenders.push({ shape, transceiver });
  }

  /** What has to be said of a new section before it is first offered. */
  #prepare(transceiver, kind, end, { codec, extensions = [] } = {}) {
    if (codec) preferCodecs(transceiver, kind, codec);
    if (kind === 'video') offerExtensions(transceiver, [DEPENDENCY_DESCRIPTOR, ...extensions]);
    else if (extensions.length > 0) offerExtensions(transceiver, extensions);
    this.#options.encodedTransform?.(end, kind);
  }

  #published(publication, producer) {
    const anew = publication.producer !== producer;
    publication.producer = producer;
    if (anew) publication.watched = [];
    if (anew && publication.paused) this.#tellPaused(publication);
    publication.settled.resolve();
    if (anew) this.#emit('published', publication);
  }

  #onWatched({ producer, encodings }) {
    const publication = [...this.#publications].find((one) => one.producer === producer);
    if (!publication) return;
    publication.watched = encodings;
    this.#sendWatched(publication);
  }

  /** Sends only what somebody watches; one change at a time, since parameters must be read before they are set. */
  #sendWatched(publication) {
    if (publication.encodings.length < 2) return;
    publication.obeying = publication.obeying.then(async () => {
      const sender = publication.transceiver?.sender;
      const parameters = sender?.getParameters();
      if (!parameters?.encodings?.length) return;
      const changed = parameters.encodings.filter((one, index) => one.active !== (publication.watched[index] ?? true));
      if (changed.length === 0) return;
      for (const encoding of changed) encoding.active = !encoding.active;
      await sender.setParameters(parameters).catch((error) => this.#emit('problem', error));
    });
  }

  #publishRefused(publication, { status = 403, code, message, detail }) {
    const error = new SessionError({ status, code, detail: detail ?? message });
    this.#publications.delete(publication);
    this.#releaseSender(publication);
    publication.settled.reject(error);
    this.#negotiate();
    this.#emit('publish-refused', { publication, error });
  }

  /** @internal */
  async _setPaused(publication, paused) {
    publication.paused = paused;
    if (publication.track) publication.track.enabled = !paused;
    await this.#tellPaused(publication);
  }

  /** A broken socket is no failure here: the state is told again after a resume or a rejoin. */
  async #tellPaused({ producer, paused }) {
    if (!producer) return;
    await this.#request(paused ? 'pause' : 'continue', { producer }).catch((error) => {
      if (error.code !== 'socket-closed') this.#emit('problem', error);
    });
  }

  /** @internal */
  async _unpublish(publication) {
    if (!this.#publications.delete(publication)) return;
    const { producer } = publication;
    publication.producer = null;
    this.#releaseSender(publication);
    if (producer) await this.#request('close-track', { producer });
    this.#negotiate();
  }

  // Receiving

  #wantSections({ audio = 0, video = 0 }) {
    this.#wantedSections = { audio, video };
    if (audio + video > 0) this.#negotiate();
  }

  #makeChannel(label, options) {
    const channel = new RoomChannel(label, options, () => this.#pc && channel._openOn(this.#pc));
    this.#roomChannels.set(label, channel);
    return channel;
  }

  #addSections(pc) {
    for (const channel of this.#roomChannels.values()) channel._openOn(pc);
    for (const kind of ['audio', 'video']) {
      const receiving = pc
        .getTransceivers()
        .filter((one) => one.direction === 'recvonly' && one.receiver.track.kind === kind).length;
      for (let n = receiving; n < this.#wantedSections[kind]; n++) {
        const transceiver = pc.addTransceiver(kind, { direction: 'recvonly' });
        this.#prepare(transceiver, kind, transceiver.receiver);
      }
    }
  }

  #receiving({ mid, producer, ...view }) {
    const transceiver = this.#pc.getTransceivers().find((one) => one.mid === mid);
    if (!transceiver) return;
    const track = this.#tracks.get(producer) ?? this.#trackPublished({ producer, ...view });
    if (track.mid === mid) return;
    track.mid = mid;
    track.mediaStreamTrack = transceiver.receiver.track;
    this.#emit('track', track);
  }

  #askLayer(track, spatial) {
    if (track.layers < 2 || !this.#tracks.has(track.producer)) return;
    this.#request('layers', { producer: track.producer, spatial }).catch(() => {});
  }

  // What the host says

  #onMessage(channel, message) {
    if (channel !== this.#channel) return;
    switch (message.type) {
      case 'negotiate': return this.#wantSections(message);
      case 'person-joined': return this.#personJoined(message);
      case 'person-left': return this.#personLeft(message.person);
      case 'track-published': return this.#trackPublished(message);
      case 'track-ended': return this.#trackEnded(message.producer);
      case 'track-paused': return this.#onTrack(message, 'track-paused', { paused: message.paused });
      case 'layer': {
        const { encoding, allowance = 'full' } = message;
        return this.#onTrack(message, 'layer', { encoding, allowance });
      }
      case 'watched': return this.#onWatched(message);
      case 'track-unplayable': return this.#emit('track-unplayable', message);
      case 'message': return this.#roomChannels.get(ROOM_CHANNEL)._onMessage({ person: message.person, data: message.text });
      case 'message-refused': return this.#emit('message-refused', message);
      case 'speakers': return this.#onSpeakers(message.speakers);
      case 'transport': return this.#onTransport(message.state);
      case 'grant-changed': return this.#onGrant(message.grant);
      case 'track-revoked': return this.#onRevoked(message);
      case 'ended': return this.#onEnded(message);
    }
  }

  #personJoined({ person, name, identity }) {
    if (person === this.person || this.#people.has(person)) return;
    const view = { person, name, identity };
    this.#people.set(person, view);
    this.#emit('person-joined', view);
  }

  #personLeft(person) {
    const view = this.#people.get(person);
    if (!view) return;
    for (const track of [...this.#tracks.values()]) if (track.person === person) this.#trackEnded(track.producer);
    this.#people.delete(person);
    this.#emit('person-left', view);
  }

  #trackPublished(view) {
    const known = this.#tracks.get(view.producer);
    if (known) {
      if (known.paused !== Boolean(view.paused)) this.#onTrack(view, 'track-paused', { paused: Boolean(view.paused) });
      return known;
    }
    if (view.person === this.person) return undefined;
    const track = new RemoteTrack(view);
    this.#tracks.set(track.producer, track);
    this.#emit('track-published', track);
    return track;
  }

  #trackEnded(producer) {
    const track = this.#tracks.get(producer);
    if (!track) return;
    this.#tracks.delete(producer);
    this.#tiles.forget(track);
    this.#emit('track-ended', track);
  }

  #onGrant(grant) {
    this.grant = grant;
    this.#emit('grant', grant);
  }

  // The host has ended a track of ours that the grant does not hold any more: there is nothing to close.
  #onRevoked({ producer, code, message }) {
    const publication = [...this.#publications].find((one) => one.producer === producer);
    if (!publication) return;
    publication.producer = null;
    const ended = this._unpublish(publication);
    this.#emit('track-revoked', { publication, code, message });
    return ended;
  }

  #onTrack({ producer }, event, changes) {
    const track = this.#tracks.get(producer);
    if (!track) return;
    Object.assign(track, changes);
    this.#emit(event, track);
  }

  #onSpeakers(speakers) {
    this.speakers = speakers;
    this.#emit('speakers', speakers);
  }

  /** A transport that was up and closed can be made anew; one that never came up would only fail again. */
  #onTransport(state) {
    this.#emit('transport', state);
    if (state === 'connected') this.#everConnected = true;
    if (state !== 'closed') return;
    if (this.#everConnected) this.#rejoin();
    else this.#finish({ code: 'transport-closed', message: 'The media connection could not be set up.' }, true);
  }

  #onEnded({ code, message, rejoin }) {
    if (rejoin) this.#rejoin();
    else this.#finish({ code, message }, true);
  }

  // The rest

  #listen() {
    const { signal } = this.#stopListening;
    // Back online means another network, mostly: the old path is not waited for. `change` comes with each new
    // estimate of the bandwidth as well, so it only asks whether the host is still there.
    const online = () => {
      this.#wakeRecovery?.();
      this.#restartIce();
    };
    const changed = () => (this.#iceConnected() ? this.#probe() : this.#restartIce());
    globalThis.addEventListener('online', online, { signal });
    globalThis.navigator?.connection?.addEventListener?.('change', changed, { signal });
    globalThis.addEventListener('pagehide', () => this.leave(), { signal });
    this.#clock = setInterval(() => {
      if (this.#channel && performance.now() - this.#channel.heardAt > SILENCE_MS) this.#probe();
    }, SILENCE_MS / 2);
    this.#qualityClock = setInterval(() => this.#measureQuality(), QUALITY_EVERY_MS);
  }

  async #measureQuality() {
    const pc = this.#pc;
    const report = await pc?.getStats().catch(() => null); // it may just have been closed
    if (!report || pc !== this.#pc) return;
    const own = { person: this.person, connected: this.#state === 'connected' };
    const before = this.#quality;
    this.#quality = this.#meter.read(report, own, this.#tracks.values());
    const { gone } = difference(before, this.#quality);
    const changed = [...this.#quality.values()].some(({ person, level }) => before.get(person)?.level !== level);
    if (changed || gone.length > 0) this.#emit('quality', this.#quality);
  }

  #request(type, fields, timeout) {
    if (this.#channel) return this.#channel.request(type, fields, timeout);
    return Promise.reject(new SessionError({ code: 'socket-closed', detail: 'Not connected to the host.' }));
  }

  #refuseEnded() {
    if (this.#state === 'ended') throw new SessionError({ status: 409, code: 'ended', detail: 'The session is over.' });
  }

  #refreshState() {
    if (this.#state === 'ended') return;
    const mediaLost = ['disconnected', 'failed'].includes(this.#pc?.iceConnectionState);
    const state = this.#channel && !mediaLost ? 'connected' : 'reconnecting';
    if (state === this.#state) return;
    this.#state = state;
    this.#emit('state', state);
  }

  #finish(reason, tell) {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    clearInterval(this.#clock);
    clearInterval(this.#qualityClock);
    this.#stopListening.abort();
    this.#closePeerConnection();
    this.#tiles.close();
    const over = new SessionError({ status: 409, code: reason.code, detail: reason.message });
    for (const { settled } of this.#publications) settled.reject(over);
    const channel = this.#channel;
    this.#channel = null;
    if (reason.code !== 'left') channel?.close();
    this.#channelOpen.resolve();
    if (!tell) return;
    this.#emit('state', 'ended');
    this.#emit('ended', reason);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Puts the wanted codecs first in what a section will offer. */
function preferCodecs(transceiver, kind, wanted) {
  const codecs = codecOrder(RTCRtpSender.getCapabilities(kind)?.codecs ?? [], wanted);
  if (codecs) return transceiver.setCodecPreferences(codecs);
  transceiver.stop();
  throw new SessionError({ status: 406, code: 'codec-missing', detail: `This browser does not send ${[wanted].flat().join(' or ')}.` });
}

/** Offers header extensions that the browser knows and would leave out; where it cannot be told to, nothing changes. */
function offerExtensions(transceiver, uris) {
  if (!transceiver.setHeaderExtensionsToNegotiate) return;
  const known = transceiver.getHeaderExtensionsToNegotiate();
  transceiver.setHeaderExtensionsToNegotiate(known.map((one) => (uris.includes(one.uri) ? { ...one, direction: 'sendrecv' } : one)));
}

/** Watches how large each attached element is shown, and says which layer that needs. */
class Tiles {
  #ask;
  #tiles = new Map();
  #sizes = null;
  #sight = null;
  #onVisibility = () => this.#measureAll();

  constructor(ask) {
    this.#ask = ask;
  }

  add(track, element) {
    this.remove(element);
    this.#start();
    this.#tiles.set(element, { track, asked: null, onScreen: true, timer: null });
    this.#sizes.observe(element);
    this.#sight.observe(element);
  }

  remove(element) {
    const tile = this.#tiles.get(element);
    if (!tile) return;
    clearTimeout(tile.timer);
    this.#tiles.delete(element);
    this.#sizes.unobserve(element);
    this.#sight.unobserve(element);
  }

  forget(track) {
    for (const [element, tile] of [...this.#tiles]) if (tile.track === track) this.remove(element);
  }

  /** Wishes may have been lost with a socket. */
  askAgain() {
    for (const { track, asked } of this.#tiles.values()) if (asked !== null) this.#ask(track, this.#widest(track));
  }

  close() {
    for (const element of [...this.#tiles.keys()]) this.remove(element);
    this.#sizes?.disconnect();
    this.#sight?.disconnect();
    globalThis.document?.removeEventListener('visibilitychange', this.#onVisibility);
  }

  #start() {
    if (this.#sizes) return;
    this.#sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => this.#measure(target)));
    this.#sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const tile = this.#tiles.get(target);
        if (tile) tile.onScreen = isIntersecting;
        this.#measure(target);
      }
    });
    document.addEventListener('visibilitychange', this.#onVisibility);
  }

  #measureAll() {
    for (const element of this.#tiles.keys()) this.#measure(element);
  }

  #measure(element) {
    const tile = this.#tiles.get(element);
    if (!tile) return;
    const shown = tile.onScreen && document.visibilityState === 'visible';
    const width = shown ? element.clientWidth * (globalThis.devicePixelRatio || 1) : 0;
    const spatial = layerFor(width, tile.track.layers);
    clearTimeout(tile.timer);
    if (spatial === tile.asked) return;
    const after = tile.asked === null || spatial > tile.asked ? GROW_AFTER_MS : SHRINK_AFTER_MS;
    tile.timer = setTimeout(() => {
      tile.asked = spatial;
      this.#ask(tile.track, this.#widest(tile.track));
    }, after);
  }

  /** A track shown twice is needed as large as its largest picture. */
  #widest(track) {
    const asked = [...this.#tiles.values()].filter((tile) => tile.track === track).map((tile) => tile.asked ?? 0);
    return Math.max(0, ...asked);
  }
}
