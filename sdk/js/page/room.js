/**
 * The stock meeting room: form, devices, tiles and buttons around one session.
 * Knows nothing of negotiation or reconnection (/sdk/tidegate.js does those), nor of how tiles stand (/stage.js).
 *
 * The address may say `room`, `name`, `token`, `auto=1` (join at once), `audio=0`, `video=0` and
 * `camera=1280x720`. A token is taken out of the address bar before anything else happens.
 */

import { join } from '/sdk/tidegate.js';
import { Stage } from '/stage.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const CAMERA = /^(\d{2,4})x(\d{2,4})$/.exec(query.get('camera') ?? '');
const REMEMBERED = { audioinput: 'tidegate.microphone', videoinput: 'tidegate.camera', audiooutput: 'tidegate.speaker' };

let session = null;
/** What this person sends, or will send: tracks by kind, switches, publications by source. */
const own = { audio: null, video: null, micOn: query.get('audio') !== '0', cameraOn: query.get('video') !== '0' };
let publications = {};
/** Tiles by key: the person, or the screen's producer. */
const tiles = new Map();
const stage = new Stage($('grid'), tiles);
/** Messages that came while nobody looked at the chat. */
let unread = 0;
/** Older messages leave the page: a room may go on for days. */
const MESSAGES = 500;

start();

async function start() {
  const token = query.get('token');
  if (token !== null) forgetTokenInAddress(token);
  $('name').value = query.get('name') ?? localStorage.getItem('tidegate.name') ?? '';
  $('room-name').value = query.get('room') ?? '';
  ($('name').value ? $('room-name').value ? $('join-button') : $('room-name') : $('name')).focus();
  listen();
  paintButtons();
  if (query.get('auto') === '1' && $('name').reportValidity() && $('room-name').reportValidity()) return enter();
  await openOwnDevices();
}

function forgetTokenInAddress(token) {
  $('token').value = token;
  $('token-details').open = token !== '';
  query.delete('token');
  history.replaceState(null, '', `?${query}`);
}

function listen() {
  $('join').addEventListener('submit', (event) => {
    event.preventDefault();
    enter();
  });
  $('name').addEventListener('input', () => paintAvatar($('preview-tile'), $('name').value));
  for (const id of ['entry-mic', 'mic-button']) $(id).addEventListener('click', () => setMicrophone(!own.micOn));
  for (const id of ['entry-camera', 'camera-button']) $(id).addEventListener('click', () => setCamera(!own.cameraOn));
  $('screen-button').hidden = !navigator.mediaDevices?.getDisplayMedia;
  $('screen-button').addEventListener('click', toggleScreen);
  $('leave-button').addEventListener('click', () => session?.leave());
  $('view-button').addEventListener('click', () => {
    stage.choose(stage.view === 'grid' ? 'speaker' : 'grid');
    paintView();
  });
  $('copy').addEventListener('click', copyLink);
  $('chat-button').addEventListener('click', () => openChat($('chat-panel').hidden));
  $('chat-form').addEventListener('submit', (event) => {
    event.preventDefault();
    sayInChat();
  });
  $('settings-button').addEventListener('click', () => $('settings-dialog').showModal());
  for (const select of document.querySelectorAll('[data-device]')) select.addEventListener('change', changeDevice);
  for (const label of document.querySelectorAll('[data-output]')) {
    label.hidden = !('setSinkId' in HTMLMediaElement.prototype);
  }
  navigator.mediaDevices?.addEventListener('devicechange', listDevices);
  addEventListener('resize', arrange);
  document.addEventListener('keydown', onKey);
}

/** M and V switch microphone and camera, unless one is typing. */
function onKey(event) {
  const typing = event.target.closest?.('input, select, textarea, dialog[open]');
  if (!session || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'm') setMicrophone(!own.micOn);
  if (event.key === 'v') setCamera(!own.cameraOn);
}

// Own devices

function constraints(kind) {
  const device = localStorage.getItem(REMEMBERED[kind === 'audio' ? 'audioinput' : 'videoinput']);
  const chosen = device ? { deviceId: { ideal: device } } : {};
  if (kind === 'audio') return { ...chosen, echoCancellation: true, noiseSuppression: true };
  if (CAMERA) return { ...chosen, width: { exact: +CAMERA[1] }, height: { exact: +CAMERA[2] } };
  return { ...chosen, width: { ideal: 1280 }, height: { ideal: 720 } };
}

/** Opens what is switched on. A device that fails is switched off and said; the call goes on without it. */
async function openOwnDevices() {
  const wanted = {};
  if (own.micOn && !own.audio) wanted.audio = constraints('audio');
  if (own.cameraOn && !own.video) wanted.video = constraints('video');
  if (!wanted.audio && !wanted.video) return;
  const together = await openDevices(wanted);
  if (together) for (const track of together.getTracks()) adopt(track);
  else for (const kind of Object.keys(wanted)) await openOne(kind, wanted[kind]);
  paintPreview();
  await listDevices();
}

async function openDevices(wanted) {
  try {
    return await navigator.mediaDevices.getUserMedia(wanted);
  } catch {
    return null;
  }
}

async function openOne(kind, wanted) {
  const stream = await openDevices({ [kind]: wanted });
  if (stream) adopt(stream.getTracks()[0]);
  else deviceFailed(kind);
}

function adopt(track) {
  own[track.kind]?.stop();
  own[track.kind] = track;
  track.addEventListener('ended', () => own[track.kind] === track && deviceFailed(track.kind));
}

function deviceFailed(kind) {
  own[kind] = null;
  if (kind === 'audio') own.micOn = false;
  else own.cameraOn = false;
  $('device-note').textContent = `No ${kind === 'audio' ? 'microphone' : 'camera'} that can be used.`;
  if (session) setPublished(kind, false);
  paintButtons();
  paintPreview();
}

async function setMicrophone(on) {
  own.micOn = on;
  if (on && !own.audio) await openOwnDevices();
  if (own.audio) own.audio.enabled = own.micOn;
  paintButtons();
  if (session) await setPublished('audio', own.micOn);
}

/** Off means off: the device is closed, so that its light goes out. */
async function setCamera(on) {
  own.cameraOn = on;
  if (!on) {
    own.video?.stop();
    own.video = null;
  } else if (!own.video) {
    await openOwnDevices();
  }
  paintButtons();
  paintPreview();
  if (session) await setPublished('video', own.cameraOn);
}

async function changeDevice({ target }) {
  localStorage.setItem(REMEMBERED[target.dataset.device], target.value);
  for (const twin of document.querySelectorAll(`[data-device="${target.dataset.device}"]`)) twin.value = target.value;
  if (target.dataset.device === 'audiooutput') return chooseSpeaker(target.value);
  const kind = target.dataset.device === 'audioinput' ? 'audio' : 'video';
  if (kind === 'audio' ? !own.micOn : !own.cameraOn) return undefined;
  const stream = await openDevices({ [kind]: { ...constraints(kind), deviceId: { exact: target.value } } });
  $('settings-alert').hidden = Boolean(stream);
  $('settings-alert').textContent = 'That device cannot be used.';
  if (!stream) return undefined;
  adopt(stream.getTracks()[0]);
  paintPreview();
  return publications[kind]?.replace(own[kind]);
}

function chooseSpeaker(device) {
  for (const element of document.querySelectorAll('audio')) element.setSinkId(device).catch(() => {});
}

async function listDevices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  for (const select of document.querySelectorAll('[data-device]')) {
    const { device } = select.dataset;
    const fitting = devices.filter((one) => one.kind === device && one.deviceId);
    select.replaceChildren(...fitting.map((one, n) => new Option(one.label || `Device ${n + 1}`, one.deviceId)));
    const used = own[{ audioinput: 'audio', videoinput: 'video' }[device]]?.getSettings().deviceId;
    const wanted = used ?? localStorage.getItem(REMEMBERED[device]);
    if (fitting.some((one) => one.deviceId === wanted)) select.value = wanted;
    select.disabled = fitting.length === 0;
  }
}

// Entering and leaving

async function enter() {
  const name = $('name').value.trim();
  const room = $('room-name').value.trim();
  if (!name || !room) return;
  localStorage.setItem('tidegate.name', name);
  showState('joining');
  $('refusal').hidden = true;
  await openOwnDevices();
  try {
    session = await join({ room, name, token: $('token').value });
  } catch (error) {
    return refuse(error);
  }
  window.tidegate = session;
  history.replaceState(null, '', `?${withRoom(query, room)}`);
  showRoom();
  await publishOwn();
}

function withRoom(params, room) {
  params.set('room', room);
  return params;
}

function refuse({ message, code }) {
  session = null;
  showState('entry');
  $('refusal').textContent = message;
  $('refusal').dataset.code = code;
  $('refusal').hidden = false;
  openOwnDevices();
}

function showRoom() {
  $('title').textContent = session.room;
  document.title = `${session.room} · Tidegate`;
  const handlers = {
    'person-joined': ({ detail }) => addTile(detail.person, detail.name, 'camera'),
    'person-left': ({ detail }) => removeTile(detail.person),
    'track-published': ({ detail }) => paintTrack(detail),
    'track': ({ detail }) => showTrack(detail),
    'track-ended': ({ detail }) => hideTrack(detail),
    'track-paused': ({ detail }) => paintTrack(detail),
    'track-unplayable': ({ detail }) => showNotice(detail.message),
    'publish-refused': ({ detail }) => showNotice(detail.error.message),
    'track-revoked': ({ detail }) => onRevoked(detail),
    'speakers': ({ detail }) => paintSpeakers(detail),
    'quality': () => paintQuality(),
    'message': ({ detail }) => typeof detail.data === 'string' && showMessage(nameOf(detail.person), detail.data),
    'message-refused': ({ detail }) => showMessage('', detail.message, 'refused'),
    'state': () => onState(),
    'ended': ({ detail }) => onEnded(detail),
  };
  for (const [type, handler] of Object.entries(handlers)) session.addEventListener(type, handler);
  addTile('self', `${session.name} (you)`, 'camera', true);
  for (const { person, name } of session.people.values()) addTile(person, name, 'camera');
  for (const track of session.tracks.values()) paintTrack(track);
  onState();
  paintButtons();
  paintPreview();
}

async function publishOwn() {
  const current = session;
  const publish = async (kind, source) => {
    publications[kind] = await current.publish(own[kind], { source });
    if (kind === 'audio' ? !own.micOn : !own.cameraOn) await setPublished(kind, false);
  };
  const wanted = [];
  if (own.audio) wanted.push(publish('audio', 'microphone'));
  if (own.video) wanted.push(publish('video', 'camera'));
  await Promise.allSettled(wanted); // a refusal is told by `publish-refused`
}

/** Brings what is published in line with a switch. */
async function setPublished(kind, on) {
  const publication = publications[kind];
  try {
    if (!publication && on && own[kind]) {
      publications[kind] = await session.publish(own[kind], { source: kind === 'audio' ? 'microphone' : 'camera' });
    } else if (publication) {
      if (on || kind === 'video') await publication.replace(own[kind]);
      await (on ? publication.continue() : publication.pause());
    }
  } catch (error) {
    if (!publications[kind]) switchOff(kind);
    showNotice(error.message);
  }
}

async function toggleScreen() {
  if (publications.screen) return endScreen();
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 15 } }).catch(() => null);
  if (!stream || !session) return undefined;
  const [track] = stream.getVideoTracks();
  track.contentHint = 'detail';
  track.addEventListener('ended', endScreen);
  publications.screen = await session.publish(track, { source: 'screen' }).catch(() => null);
  if (!publications.screen) track.stop();
  paintButtons();
  return undefined;
}

async function endScreen() {
  const { screen } = publications;
  delete publications.screen;
  screen?.track.stop();
  paintButtons();
  await screen?.close().catch(() => {});
}

/** The host ended a track of ours: its device is closed, its switch is off, and the reason is said. */
function onRevoked({ publication, message }) {
  const kind = Object.keys(publications).find((one) => publications[one] === publication);
  if (!kind) return;
  delete publications[kind];
  if (kind === 'screen') publication.track?.stop();
  switchOff(kind);
  showNotice(message);
}

/** What is not sent is not shown as if it were, and its light goes out. */
function switchOff(kind) {
  own[kind]?.stop();
  if (kind in own) own[kind] = null;
  if (kind === 'audio') own.micOn = false;
  if (kind === 'video') own.cameraOn = false;
  paintButtons();
  paintPreview();
}

function onState() {
  if (!session || session.state === 'ended') return;
  showState(session.state);
  $('banner').hidden = session.state !== 'reconnecting';
  $('banner').textContent = 'Connection lost. Reconnecting…';
}

function onEnded({ code, message }) {
  session = null;
  publications.screen?.track.stop();
  publications = {};
  for (const key of [...tiles.keys()]) removeTile(key);
  stage.reset();
  $('sounds').replaceChildren();
  $('messages').replaceChildren();
  openChat(false);
  document.title = 'Tidegate';
  if (code === 'left') {
    showState('entry');
    openOwnDevices().then(paintPreview);
  } else {
    refuse({ code, message });
  }
}

// Chat

function openChat(open) {
  $('chat-panel').hidden = !open;
  $('chat-button').setAttribute('aria-expanded', String(open));
  if (open) $('chat-text').focus();
  paintUnread(0);
}

async function sayInChat() {
  const text = $('chat-text').value.trim();
  if (!text || !session) return;
  $('chat-text').value = '';
  try {
    await session.send(text);
    showMessage('You', text);
  } catch (error) {
    $('chat-text').value = text;
    showMessage('', error.message, 'refused');
  }
}

const nameOf = (person) => session?.people.get(person)?.name ?? 'Someone';

/** What others write is text, never markup. */
function showMessage(who, text, kind = '') {
  const list = $('messages');
  const wasAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const item = document.createElement('li');
  item.className = kind;
  const name = document.createElement('span');
  name.className = 'who';
  name.textContent = who;
  const words = document.createElement('span');
  words.textContent = text;
  item.append(name, words);
  list.append(item);
  while (list.childElementCount > MESSAGES) list.firstElementChild.remove();
  if (wasAtEnd) item.scrollIntoView({ block: 'end' });
  if ($('chat-panel').hidden) paintUnread(unread + 1);
}

function paintUnread(count) {
  unread = count;
  $('unread').hidden = count === 0;
  $('unread').textContent = count > 99 ? '99+' : String(count);
  $('chat-button').setAttribute('aria-label', count === 0 ? 'Chat' : `Chat, ${count} unread`);
}

/** A passing message in the room: it goes when the next state comes, or after a while. */
function showNotice(message) {
  $('banner').textContent = message;
  $('banner').hidden = false;
  setTimeout(() => session?.state === 'connected' && ($('banner').hidden = true), 8_000);
}

async function copyLink() {
  const link = `${location.origin}/?${new URLSearchParams({ room: session.room })}`;
  const label = $('copy').querySelector('span');
  const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
  label.textContent = copied ? 'Copied' : link;
  setTimeout(() => (label.textContent = 'Copy link'), copied ? 2_000 : 10_000);
}

// Tiles

function addTile(key, name, source, self = false) {
  if (tiles.has(key)) return tiles.get(key);
  const element = document.createElement('article');
  element.className = self ? 'tile self' : 'tile';
  Object.assign(element.dataset, { person: String(key), kind: 'video', source, video: 'off', muted: 'false', speaking: 'false', state: 'waiting' });
  element.innerHTML = `<span class="avatar" aria-hidden="true"></span><video playsinline autoplay muted></video>
    <div class="label"><svg role="img" aria-label="muted"><use href="#mic-off"/></svg><span class="who"></span><span class="quality" role="img" hidden><i></i><i></i><i></i></span></div>
    <button type="button" class="enlarge" aria-pressed="false"><svg aria-hidden="true"><use href="#enlarge"/></svg></button>`;
  element.setAttribute('aria-label', name);
  element.querySelector('.who').textContent = name;
  const enlarge = element.querySelector('.enlarge');
  enlarge.setAttribute('aria-label', `Enlarge ${name}`);
  enlarge.addEventListener('click', () => {
    stage.togglePin(key);
    paintView();
  });
  const video = element.querySelector('video');
  video.addEventListener('resize', () => (element.dataset.state = 'live'));
  const tile = { element, video, source, detach: null };
  tiles.set(key, tile);
  paintAvatar(element, name);
  $('grid').append(element);
  arrange();
  return tile;
}

function removeTile(key) {
  const tile = tiles.get(key);
  if (!tile) return;
  tile.detach?.();
  tile.element.remove();
  tiles.delete(key);
  arrange();
}

function paintAvatar(element, name) {
  const words = name.replace(/\(you\)/, '').trim().split(/\s+/).filter(Boolean);
  const initials = words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join('');
  const avatar = element.querySelector('.avatar');
  avatar.textContent = initials || '?';
  const hue = [...words.join('')].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
  avatar.style.setProperty('--hue', hue);
}

const tileKey = (track) => (track.source === 'screen' ? `screen-${track.producer}` : track.person);

function showTrack(track) {
  if (track.kind === 'audio') return playSound(track);
  const name = session.people.get(track.person)?.name ?? 'Someone';
  const tile = track.source === 'screen'
    ? addTile(tileKey(track), `${name}'s screen`, 'screen')
    : addTile(track.person, name, 'camera');
  tile.detach?.();
  tile.detach = session.attach(track, tile.video);
  tile.element.dataset.producer = String(track.producer);
  paintTrack(track);
  return undefined;
}

function playSound(track) {
  const element = document.createElement('audio');
  element.autoplay = true;
  Object.assign(element.dataset, { producer: String(track.producer), person: String(track.person), kind: 'audio' });
  const speaker = localStorage.getItem(REMEMBERED.audiooutput);
  if (speaker) element.setSinkId?.(speaker).catch(() => {});
  session.attach(track, element);
  $('sounds').append(element);
  // A page that was opened without a click may not sound until it gets one.
  element.play().catch(() => {
    showNotice('Click anywhere to hear the others.');
    document.addEventListener('click', () => element.play().catch(() => {}), { once: true });
  });
  paintTrack(track);
}

function hideTrack(track) {
  document.querySelector(`audio[data-producer="${CSS.escape(track.producer)}"]`)?.remove();
  if (track.source === 'screen') return removeTile(tileKey(track));
  const tile = tiles.get(track.person);
  if (!tile) return undefined;
  if (track.kind === 'audio') tile.element.dataset.muted = 'true';
  else {
    tile.detach?.();
    tile.detach = null;
    Object.assign(tile.element.dataset, { video: 'off', state: 'waiting' });
  }
  return undefined;
}

function paintTrack(track) {
  const dataset = tiles.get(tileKey(track))?.element.dataset;
  if (!dataset) return;
  if (track.kind === 'audio') dataset.muted = String(track.paused);
  else dataset.video = track.paused || !track.mediaStreamTrack ? 'off' : 'on';
}

function paintSpeakers(speakers) {
  const speaking = new Set(speakers.map(({ person }) => (person === session.person ? 'self' : person)));
  for (const [key, { element }] of tiles) element.dataset.speaking = String(speaking.has(key));
  stage.speaking([...speaking]);
}

/** What bars and words say of a connection, by its level. */
const QUALITIES = ['Connection lost', 'Poor connection', 'Fair connection', 'Good connection'];

function paintQuality() {
  for (const [key, { element, source }] of tiles) {
    const bars = element.querySelector('.quality');
    const quality = source === 'camera' ? session.quality.get(key === 'self' ? session.person : key) : undefined;
    bars.hidden = !quality;
    if (!quality) continue;
    bars.dataset.level = String(quality.level);
    bars.setAttribute('aria-label', QUALITIES[quality.level]);
    const roundTrip = quality.roundTripMs === null ? '' : `, ${quality.roundTripMs} ms to the host and back`;
    bars.title = `${QUALITIES[quality.level]}: ${Math.round(quality.loss * 100)}% lost${roundTrip}, ${quality.kbps} kbit/s`;
  }
}

/** Brings the tiles, and what is said of them, in line with who is here and how much room there is. */
function arrange() {
  stage.arrange();
  const others = session ? session.people.size : tiles.size - 1;
  $('count').textContent = others < 1 ? 'Only you' : `${others + 1} people`;
  paintView();
}

/** The button says what it would do. */
function paintView() {
  const [icon, words] = stage.view === 'grid' ? ['speaker', 'Speaker view'] : ['grid-view', 'Grid view'];
  $('view-button').hidden = tiles.size < 2;
  $('view-button').querySelector('use').setAttribute('href', `#${icon}`);
  $('view-button').querySelector('span').textContent = words;
}

// Painting

function showState(state) {
  document.body.dataset.state = state;
  const inRoom = state === 'connected' || state === 'reconnecting';
  $('entry').hidden = inRoom;
  $('room').hidden = !inRoom;
  $('join-button').disabled = state === 'joining';
  $('join-button').textContent = state === 'joining' ? 'Joining…' : 'Join';
  if (inRoom) arrange();
}

function paintButtons() {
  const paint = (id, on, icon, words) => {
    $(id).dataset.state = on ? 'on' : 'off';
    $(id).setAttribute('aria-pressed', String(on));
    $(id).setAttribute('aria-label', words);
    $(id).title = words;
    $(id).innerHTML = `<svg aria-hidden="true"><use href="#${icon}"/></svg>`;
  };
  const mic = own.micOn ? 'Mute microphone' : 'Unmute microphone';
  const camera = own.cameraOn ? 'Switch camera off' : 'Switch camera on';
  for (const id of ['entry-mic', 'mic-button']) paint(id, own.micOn, own.micOn ? 'mic' : 'mic-off', mic);
  for (const id of ['entry-camera', 'camera-button']) paint(id, own.cameraOn, own.cameraOn ? 'camera' : 'camera-off', camera);
  const sharing = Boolean(publications.screen);
  paint('screen-button', true, 'screen', sharing ? 'Stop sharing the screen' : 'Share the screen');
  $('screen-button').toggleAttribute('data-loud', sharing);
  $('screen-button').setAttribute('aria-pressed', String(sharing));
  const self = tiles.get('self')?.element;
  if (self) self.dataset.muted = String(!own.micOn);
}

function paintPreview() {
  const stream = own.video ? new MediaStream([own.video]) : null;
  $('preview').srcObject = stream;
  $('preview-tile').dataset.video = own.video ? 'on' : 'off';
  paintAvatar($('preview-tile'), $('name').value);
  if (own.video || own.audio) $('device-note').textContent = '';
  const self = tiles.get('self');
  if (!self) return;
  self.video.srcObject = stream;
  self.element.dataset.video = own.video ? 'on' : 'off';
}
