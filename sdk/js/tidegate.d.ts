/** Types of tidegate.js: what the browser's side of a Tidegate session offers. */

export interface JoinOptions {
  /** The host: a path or an http(s)/ws(s) address; the page's own host by default. */
  url?: string;
  room: string;
  name: string;
  /** A bearer token, or a function asked for one at each join (the session joins anew after a host's restart). */
  token?: string | (() => string | Promise<string>);
  /** The application's own words; policies see them. */
  attrs?: Record<string, string>;
  rtcConfiguration?: RTCConfiguration;
  /**
   * Called for each sender and receiver before its section is first offered: the place to set
   * `end.transform = new RTCRtpScriptTransform(worker, …)` and so to encrypt media end to end. A section is used
   * again for later tracks, and so is its transform.
   */
  encodedTransform?: (end: RTCRtpSender | RTCRtpReceiver, kind: 'audio' | 'video') => void;
}

export type Id = number | string;
export type SessionState = 'connecting' | 'connected' | 'reconnecting' | 'ended';
export type Source = 'camera' | 'microphone' | 'screen' | (string & {});

export interface Person {
  readonly person: Id;
  readonly name: string;
  readonly identity?: string;
}

/** A track of somebody else. */
export interface RemoteTrack {
  readonly producer: Id;
  readonly person: Id;
  readonly source: Source;
  readonly kind: 'audio' | 'video';
  /** Stopped at its source. */
  readonly paused: boolean;
  /** How many encodings (simulcast layers) its publisher sends. */
  readonly encodings: number;
  /** `vp8`, `vp9`, `h264`, `av1`, `opus` or `red`. */
  readonly codec: string | null;
  /** How many sizes of it can be asked for with `setLayers()`. */
  readonly layers: number;
  /** The encoding that the host sends now; null while nothing fits. */
  readonly encoding: number | null;
  /**
   * Whether there is room towards here for all that is wanted of it, for a lower encoding, or for nothing. What the
   * room's policy keeps small is `full`.
   */
  readonly allowance: 'full' | 'reduced' | 'nothing';
  /** The section of the peer connection that carries it; null until negotiated. */
  readonly mid: string | null;
  readonly mediaStreamTrack: MediaStreamTrack | null;
}

export interface PublishOptions {
  /** `camera` or `microphone` by the track's kind, unless said. */
  source?: Source;
  /** Several encodings, so that everyone gets a fitting one. On for video at least 640 wide, off for screens. */
  simulcast?: boolean;
  /**
   * What to send it in, the most wanted first: `VP8`, `VP9`, `H264`, `AV1`; `red` (Opus with redundancy), `opus`.
   * Others follow where the host lacks these; `publish()` throws `codec-missing` where the browser does.
   */
  codec?: string | string[];
  /**
   * As in WebRTC-SVC, `L3T3_KEY`. With spatial layers (needs VP9 or AV1) it takes the place of simulcast; with temporal
   * ones alone (`L1T3`) each encoding gets them.
   */
  scalabilityMode?: string;
  /** URIs of header extensions to offer besides the browser's own; the dependency descriptor always is. */
  extensions?: string[];
}

/** A track that this person sends. It outlives reconnections. */
export interface Publication {
  readonly producer: Id | null;
  readonly kind: 'audio' | 'video';
  readonly source: Source;
  readonly track: MediaStreamTrack | null;
  readonly paused: boolean;
  /** Which of its encodings somebody watches, lowest first; the others are not sent. */
  readonly watched: readonly boolean[];
  pause(): Promise<void>;
  continue(): Promise<void>;
  /** Sends another track of the same kind in its place; null sends nothing. */
  replace(track: MediaStreamTrack | null): Promise<void>;
  close(): Promise<void>;
}

export interface Speaker {
  readonly producer: Id;
  readonly person: Id | null;
  /** Last level in -dBov: 0 loudest, 127 silent. */
  readonly level: number;
}

/**
 * How well a person's media gets through: others' as it arrives here (so a bad way to here shows at all of them), one's
 * own by both ways to the host.
 */
export interface Quality {
  readonly person: Id;
  /** 3 good, 2 fair, 1 poor, 0 nothing gets through. */
  readonly level: 0 | 1 | 2 | 3;
  /** The share of packets that were lost lately, 0 to 1. */
  readonly loss: number;
  /** To the host and back; null for others, and until measured. */
  readonly roundTripMs: number | null;
  /** What arrives of theirs; of one's own, what the browser takes the way out to carry. */
  readonly kbps: number;
}

/** A message of somebody else. */
export interface Message {
  readonly person: Id;
  /** As it was sent: a string, or bytes. */
  readonly data: string | ArrayBuffer;
}

/** Messages to everyone else in the room who opened a channel of the same label. It outlives reconnections. */
export declare class RoomChannel extends EventTarget {
  private constructor();
  readonly label: string;
  readonly isOpen: boolean;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** At most 262,132 bytes; throws a SessionError with code `message-too-long` or `channel-closed`. */
  send(data: string | ArrayBuffer | ArrayBufferView): void;
  close(): void;
  addEventListener(type: 'message', listener: (event: CustomEvent<Message>) => unknown): void;
  addEventListener(type: 'open' | 'close', listener: (event: CustomEvent<null>) => unknown): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export interface SessionEvents {
  'person-joined': CustomEvent<Person>;
  'person-left': CustomEvent<Person>;
  /** Someone began to send; its media follows with `track`. */
  'track-published': CustomEvent<RemoteTrack>;
  /** The track's media can be shown: `session.attach(track, element)`. */
  'track': CustomEvent<RemoteTrack>;
  'track-ended': CustomEvent<RemoteTrack>;
  'track-paused': CustomEvent<RemoteTrack>;
  'track-unplayable': CustomEvent<{ producer: Id; code: string; message: string }>;
  /** The host sends another encoding of the track now, or has room for more or less of it. */
  'layer': CustomEvent<RemoteTrack>;
  /** The most dominant first. */
  'speakers': CustomEvent<Speaker[]>;
  /** Somebody's connection became better or worse, or is no longer known; everyone's, by person. */
  'quality': CustomEvent<ReadonlyMap<Id, Quality>>;
  'published': CustomEvent<Publication>;
  'publish-refused': CustomEvent<{ publication: Publication; error: SessionError }>;
  'state': CustomEvent<SessionState>;
  /** The host's view of the media connection. */
  'transport': CustomEvent<'new' | 'connecting' | 'connected' | 'disconnected' | 'closed'>;
  /** Somebody said something by `send()`. */
  'message': CustomEvent<Message>;
  /** The host refused a message or closed a channel of ours. */
  'message-refused': CustomEvent<{ channel: string; code: string; message: string }>;
  /** What this person may do changed, from now on; `session.grant` holds the same. */
  'grant': CustomEvent<unknown>;
  /** The host ended a track of ours that the grant does not hold any more; it is not published again by itself. */
  'track-revoked': CustomEvent<{ publication: Publication; code: string; message: string }>;
  /** Something failed that the session itself survives. */
  'problem': CustomEvent<Error>;
  /** The session is over and does not come back; code `left` after leave(). */
  'ended': CustomEvent<{ code: string; message: string }>;
}

/** Why something was not done. */
export declare class SessionError extends Error {
  /** The HTTP status that fits; 0 where the host was not reached. */
  readonly status: number;
  /** Short, stable, lower case with hyphens. */
  readonly code: string;
  readonly title: string;
  /** A JSON pointer to the field at fault. */
  readonly field?: string;
  /** True where trying again later can help. */
  readonly passing: boolean;
}

/** One person in one room. Reconnects, resumes and rejoins by itself. */
export declare class Session extends EventTarget {
  private constructor();
  static join(options: JoinOptions): Promise<Session>;
  readonly state: SessionState;
  readonly room: string;
  readonly name: string;
  readonly person: Id;
  readonly grant: unknown;
  readonly place: unknown;
  readonly people: ReadonlyMap<Id, Person>;
  readonly tracks: ReadonlyMap<Id, RemoteTrack>;
  readonly publications: ReadonlySet<Publication>;
  readonly speakers: readonly Speaker[];
  /** How well whose media gets through, one's own included; looked at every 2 s. */
  readonly quality: ReadonlyMap<Id, Quality>;
  readonly peerConnection: RTCPeerConnection | null;
  /** Resolves once the host took the track; throws a SessionError with the reason where it did not. */
  publish(track: MediaStreamTrack, options?: PublishOptions): Promise<Publication>;
  /** Shows a track, asking for the layer that fits the element's size; returns a function that detaches it. */
  attach(track: RemoteTrack, element: HTMLMediaElement): () => void;
  setLayers(track: RemoteTrack, spatial: number, temporal?: number): Promise<unknown>;
  subscribe(track: RemoteTrack): Promise<unknown>;
  unsubscribe(track: RemoteTrack): Promise<unknown>;
  /** Says something to everyone else; a text reaches people without a data channel, too. */
  send(data: string | ArrayBuffer | ArrayBufferView): Promise<void>;
  /** A channel of its own label, reliable and ordered unless said otherwise. */
  openChannel(label: string, options?: Pick<RTCDataChannelInit, 'ordered' | 'maxRetransmits' | 'maxPacketLifeTime'>): RoomChannel;
  hostStats(): Promise<unknown>;
  getStats(): Promise<RTCStatsReport>;
  leave(): Promise<void>;
  addEventListener<K extends keyof SessionEvents>(
    type: K,
    listener: (this: Session, event: SessionEvents[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** Enters a room; resolves once the host let us in. Throws a SessionError with the reason otherwise. */
export declare function join(options: JoinOptions): Promise<Session>;

/** Milliseconds to wait before the n-th attempt (from 0) to come back. */
export declare function retryDelay(attempt: number): number;
/** The layer that fills an element of this width in device pixels. */
export declare function layerFor(width: number, encodings?: number): number;
/** What figures mean to somebody in a call: 3 good, 2 fair, 1 poor, 0 nothing gets through. */
export declare function qualityLevel(figures: {
  loss?: number;
  roundTripMs?: number;
  allowance?: RemoteTrack['allowance'];
  /** A camera shows no new picture. */
  frozen?: boolean;
  silent?: boolean;
}): Quality['level'];
/** What to send of a video of this width, lowest first. */
export declare function encodingsFor(
  width: number,
  simulcast?: boolean,
  scalabilityMode?: string,
): RTCRtpEncodingParameters[];
/** A browser's codecs with the wanted ones first; null where it has none of them. */
export declare function codecOrder<C extends { mimeType: string }>(codecs: C[], wanted: string | string[]): C[] | null;
/** The WebSocket address of a host. */
export declare function sessionAddress(url: string | undefined, base?: string): string;
/** A message as it travels on a room's channel. */
export declare function frame(message: string | ArrayBuffer | ArrayBufferView, person?: number): Uint8Array;
/** The message of a frame; null where it is none. */
export declare function unframe(buffer: ArrayBuffer): Message | null;
/** The keys that only one of two maps holds. */
export declare function difference<K>(before: Map<K, unknown>, now: Map<K, unknown>): { gone: K[]; came: K[] };
