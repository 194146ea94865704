/**
 * The operators' console: reads the admin API once a second and draws it.
 * Knows nothing of how the host works; it changes nothing there.
 */

const REFRESH_MS = 1_000;
const DECISIONS_SHOWN = 50;
const PARTS = ['places', 'rooms', 'people', 'tracks', 'relays', 'policies', 'decisions', 'wishes'];
/** Forwarding delay where a place counts as slow, and where the bar ends. */
const DELAY = { high: 5_000, most: 20_000 };
const CPU = { high: 750, most: 1_000 };

const $ = (id) => document.getElementById(id);
const drawn = new Map();
const openDecisions = new Set();
let token = sessionStorage.getItem('tidegate.admin-token');

$('ask-form').addEventListener('submit', () => {
  token = $('admin-token').value;
  $('admin-token').value = '';
  sessionStorage.setItem('tidegate.admin-token', token);
  refresh();
});
document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && refresh());

let refreshing = false;
let next = null;
refresh();

async function refresh() {
  if (refreshing) return;
  refreshing = true;
  clearTimeout(next);
  try {
    draw(await readAll());
    say(null);
  } catch (error) {
    if (error.status === 401 || error.status === 403) ask(error.message);
    else say(error.message);
  }
  refreshing = false;
  if (document.visibilityState === 'visible' && !$('ask').open) next = setTimeout(refresh, REFRESH_MS);
}

async function readAll() {
  const bodies = await Promise.all(PARTS.map(read));
  return Object.fromEntries(PARTS.map((part, n) => [part, bodies[n][part]]));
}

async function read(part) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const limit = part === 'decisions' ? `?limit=${DECISIONS_SHOWN}` : '';
  const response = await fetch(`/api/v1/${part}${limit}`, { headers, cache: 'no-store' }).catch(() => null);
  if (!response) throw new Error('The host does not answer.');
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  const error = new Error(problem.detail ?? problem.title ?? `The host answered ${response.status}.`);
  throw Object.assign(error, { status: response.status });
}

function ask(problem) {
  $('ask-problem').hidden = token === null;
  $('ask-problem').textContent = problem;
  if (!$('ask').open) $('ask').showModal();
}

function say(problem) {
  document.body.dataset.state = problem ? 'problem' : 'live';
  $('problem').hidden = !problem;
  $('problem').textContent = problem ?? '';
}

// Drawing: a part is drawn again only when its data changed, so that selections and focus stay

function draw(all) {
  const count = (n, word) => `${n} ${n === 1 ? word : word === 'person' ? 'people' : `${word}s`}`;
  const connected = all.people.filter(({ state }) => state === 'connected').length;
  $('summary').textContent = [
    count(all.places.length, 'place'),
    count(all.rooms.length, 'room'),
    `${count(all.people.length, 'person')}, ${connected} connected`,
    count(all.tracks.length, 'track'),
    count(all.relays.length, 'relay'),
  ].join(' · ');
  part('places', all.places, () => all.places.map(drawPlace), 'No place has reported yet.');
  part('rooms', [all.rooms, all.people, all.tracks], () => all.rooms.map((room) => drawRoom(room, all)), 'Nobody is in a room.');
  part('relays', [all.relays, all.tracks, all.people], () => drawRelays(all), 'No track is needed at another place than its own.');
  part('policies', all.policies, () => drawPolicies(all.policies), 'No policy is loaded.');
  part('wishes', all.wishes, () => drawWishes(all), 'The balance policy wishes for nothing.');
  part('decisions', all.decisions, () => all.decisions.map(drawDecision), 'Nothing was decided yet.');
}

function part(id, data, make, empty) {
  const text = JSON.stringify(data);
  if (drawn.get(id) === text) return;
  drawn.set(id, text);
  const made = [make()].flat().filter(Boolean);
  $(id).replaceChildren(...(made.length ? made : [h('p', { class: 'empty' }, empty)]));
}

/** An element with attributes and children; text is always text. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().map((child) => (child instanceof Node ? child : String(child ?? ''))));
  return element;
}

function placeName(place) {
  return place ? `node-${place.node}/shard-${place.shard}` : '—';
}

const milliseconds = (us) => `${(us / 1000).toFixed(us < 10_000 ? 2 : 1)} ms`;
const rate = (kbps) => (kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${kbps ?? 0} kbit/s`);
const fromNanoseconds = (ns) => (ns >= 1e6 ? `${(ns / 1e6).toFixed(2)} ms` : `${(ns / 1e3).toFixed(0)} µs`);

function drawMeter(label, value, text, { high, most }) {
  const meter = h('meter', { min: 0, low: high, high: (high + most) / 2, max: most, optimum: 0, value: Math.min(value, most), 'aria-label': `${label}: ${text}` });
  return h('div', { class: 'meter' }, h('span', { class: 'soft' }, label), meter, h('b', {}, text));
}

function drawPlace(place) {
  const fact = (name, text) => h('span', {}, h('b', {}, text), ` ${name}`);
  const delay = (label, us) => drawMeter(label, us, milliseconds(us), DELAY);
  return h('article', { class: 'card', 'data-place': placeName(place) },
    h('header', {}, h('h3', {}, placeName(place)), h('small', {}, [place.node_name, place.region].filter(Boolean).join(', '))),
    delay('Delay p50', place.forward_delay_p50_us),
    delay('Delay p99', place.forward_delay_p99_us),
    drawMeter('CPU', place.cpu_permille, `${(place.cpu_permille / 10).toFixed(1)} %`, CPU),
    h('div', { class: 'facts' },
      fact('transports', place.transports), fact('consumers', place.consumers),
      fact('in', rate(place.ingress_kbps)), fact('out', rate(place.egress_kbps)),
      place.draining ? h('span', { class: 'tag' }, 'draining') : '',
      place.shed_level ? h('span', { class: 'tag', title: 'cannot keep up: leaves out layers of pictures' }, `sheds, level ${place.shed_level} of 6`) : ''));
}

function drawRoom({ room: name, since_unix_ms }, { people, tracks }) {
  const seated = people.filter((person) => person.room === name);
  return h('article', { class: 'card', 'data-room': name },
    h('header', {}, h('h3', {}, name), h('small', {}, `since ${clock(since_unix_ms)}`)),
    seated.map((person) => {
      const sent = tracks.filter((track) => track.person === person.person);
      return h('div', { class: 'seat', 'data-person': person.person, 'data-place': placeName(person.place) },
        h('span', { class: 'dot', 'data-state': person.state, role: 'img', 'aria-label': person.state }),
        h('span', { class: 'name' }, person.name, ' ', h('span', { class: 'soft' }, sent.map((track) => track.source + (track.paused ? ' (paused)' : '')).join(', '))),
        h('span', { class: 'tag' }, placeName(person.place)));
    }));
}

function drawTable(heads, lines) {
  if (lines.length === 0) return [];
  const cell = (tag, content, n) => h(tag, { class: heads[n].endsWith('#') ? 'number' : undefined }, content);
  return [h('table', {},
    h('thead', {}, h('tr', {}, heads.map((head, n) => cell('th', head.replace('#', ''), n)))),
    h('tbody', {}, lines.map(({ key, cells }) => h('tr', { 'data-key': key }, cells.map((content, n) => cell('td', content, n))))))];
}

function drawRelays({ relays, tracks, people }) {
  const lines = relays.map((relay) => {
    const track = tracks.find(({ producer }) => producer === relay.producer);
    const person = people.find((one) => one.person === track?.person);
    return { key: relay.relay, cells: [
      `relay-${relay.relay}`,
      track ? `${person?.name ?? 'someone'}: ${track.source}` : `producer-${relay.producer}`,
      placeName(relay.from), placeName(relay.to), relay.consumers,
      relay.source?.packets ?? '—', relay.sink?.repaired ?? '—', relay.sink?.lost ?? '—',
    ] };
  });
  return drawTable(['Relay', 'Of', 'From', 'To', 'Consumers#', 'Packets#', 'Repaired#', 'Lost#'], lines);
}

function drawPolicies(policies) {
  const lines = policies.map((policy) => ({ key: policy.position > 1 ? `${policy.decision}.${policy.position}` : policy.decision, cells: [
    policy.decision, h('span', {}, `${policy.name} ${policy.version}`, policy.breaker === 'closed' ? '' : h('span', { class: 'tag', title: 'it failed again and again and is left alone for a while' }, `breaker ${policy.breaker}`), drawShadow(policy.shadow)),
    policy.origin, h('code', { title: policy.digest }, policy.digest.slice(0, 16)), policy.generation,
    policy.calls, failureCount(policy.failures),
    fromNanoseconds(policy.latency_p50_ns), fromNanoseconds(policy.latency_p99_ns),
  ] }));
  return drawTable(['Decision', 'Policy', 'From', 'Digest', 'Generation#', 'Calls#', 'Failures#', 'p50#', 'p99#'], lines);
}

function drawShadow(shadow) {
  if (!shadow) return '';
  const title = `generation ${shadow.generation}, digest ${shadow.digest}`;
  return h('span', { class: 'tag', title }, `in its shadow ${shadow.name} ${shadow.version}: ${shadow.differences} of ${shadow.calls} otherwise`);
}

function failureCount(failures) {
  const pairs = Object.entries(failures);
  return h('span', { title: pairs.map(([name, n]) => `${name}: ${n}`).join(', ') }, pairs.reduce((sum, [, n]) => sum + n, 0));
}

function drawWishes({ wishes }) {
  const lines = wishes.toReversed().map((wish) => ({ key: wish.unix_ms, cells: [
    clock(wish.unix_ms), wish.action, placeName(wish.from), placeName(wish.to), `${wish.amount} ${wish.unit}`, wish.reason,
  ] }));
  return drawTable(['At', 'Wish', 'From', 'To', 'Amount#', 'Because'], lines);
}

function drawDecision(record) {
  const key = String(record.number);
  const said = record.failure ? `failed: ${record.failure}` : brief(record.outcome);
  const state = record.failure ? 'failed' : /refus/i.test(JSON.stringify(record.outcome)) ? 'refused' : 'done';
  const json = (value) => h('pre', {}, typeof value === 'string' ? value : JSON.stringify(value, null, 2));
  const by = record.by.map(({ name, generation, digest, asked }) => `${name}, generation ${generation} (${digest.slice(0, 16)})${asked ? '' : ', not asked'}`);
  const answer = `Answer; waited ${fromNanoseconds(record.waited_ns)}, by ${by.join('; ') || record.digest.slice(0, 16)}`;
  const details = h('details', { 'data-decision': record.decision, 'data-outcome': state },
    h('summary', {},
      h('span', { class: 'soft' }, clock(record.unix_ms)), h('span', { class: 'kind' }, record.decision),
      h('span', { class: 'what' }, `${brief(record.question)} → ${said}`),
      h('span', { class: 'time soft' }, fromNanoseconds(record.latency_ns))),
    h('div', { class: 'inside' },
      h('div', {}, h('span', { class: 'soft' }, 'Question'), json(record.question)),
      h('div', {}, h('span', { class: 'soft' }, answer), json(record.outcome)),
      record.trouble ? h('div', {}, h('span', { class: 'soft' }, 'What went wrong inside'), h('pre', {}, record.trouble)) : ''));
  details.open = openDecisions.has(key);
  details.addEventListener('toggle', () => (details.open ? openDecisions.add(key) : openDecisions.delete(key)));
  return details;
}

/** The telling members of a question or an answer, in one line. */
function brief(value) {
  if (typeof value !== 'object' || value === null) return String(value ?? '');
  const entries = Object.entries(value);
  if (entries.length === 1 && typeof entries[0][1] === 'object') return `${entries[0][0]} ${brief(entries[0][1])}`.trim();
  const telling = ['action', 'purpose', 'room', 'name', 'source', 'kind', 'place', 'code', 'message', 'reason', 'identity', 'node', 'shard'];
  return entries.filter(([name, one]) => telling.includes(name) && one !== null && one !== '')
    .map(([name, one]) => (name === 'place' ? placeName(one) : typeof one === 'object' ? brief(one) : one)).join(' ');
}

function clock(unixMs) {
  return unixMs ? new Date(Number(unixMs)).toLocaleTimeString([], { hour12: false }) : '—';
}
