// Who may enter: whoever shows a pass that was signed for the room. Knows nothing of who makes passes.
//
//     pass = IDENTITY "." ROLE "." EXPIRES "." SIGNATURE
//
// ROLE is `listener`, `speaker` or `presenter`, EXPIRES milliseconds since the Unix epoch. SIGNATURE is HMAC-SHA256, in
// lower-case hexadecimal, of all before it without its dot, then a line feed, then the room's name.

import { verify } from 'tidegate:policy/host-crypto@1.0.0';
import { add } from 'tidegate:policy/host-counters@1.0.0';
import { description } from './lifecycle.js';

const NAME_CHARACTERS = 64;
const IDENTITY_BYTES = 128;
const KEY_BYTES = 16;
const HANDED_ON = 8;
const HANDED_ON_BYTES = 256;

const utf8 = new TextEncoder();
const bytesOf = (text) => utf8.encode(text);

/** The configuration: the key that passes are signed with. */
let key = new Uint8Array();

export const lifecycle = {
  describe: () => description(`{"type":"string","minLength":${KEY_BYTES}}`),

  configure(setup) {
    const given = JSON.parse(setup.configuration);
    if (typeof given !== 'string' || bytesOf(given).length < KEY_BYTES) {
      return [{ pointer: '', message: `give the passes' key as a JSON string of at least ${KEY_BYTES} bytes` }];
    }
    key = bytesOf(given);
    return [];
  },
};

export const authorization = {
  authorize(request) {
    switch (request.action) {
      case 'join':
      case 'renew':
        return join(request);
      case 'publish':
      case 'subscribe':
      case 'data':
        // Asked only where a grant names them in `consult`.
        return request.identity ? grant({ identity: request.identity }) : refuse('not-inside', 'Enter the room first.');
      default:
        return refuse('not-granted', 'This policy does not grant that.');
    }
  },
};

function join(request) {
  if (!request.room) return refuse('no-room', 'A pass opens one room, and none was named.');
  if (!request.token) return refuse('no-pass', 'This room needs a pass.');
  const pass = read(request.token);
  if (!pass) return refuse('bad-pass', 'This is not a pass.');
  if (!verify('HS256', key, bytesOf(`${pass.signed}\n${request.room}`), pass.signature)) {
    return refuse('forged-pass', 'This pass was not made for this room.');
  }
  if (pass.expires <= request.moment.unixMs) return refuse('pass-expired', 'This pass has expired.');
  add('entered', 1n);
  return grant({
    identity: pass.identity,
    name: shown(request.name) || pass.identity,
    room: request.room,
    publish: pass.role !== 'listener',
    sources: pass.role === 'speaker' ? ['camera', 'microphone'] : undefined,
    maxTracks: 3,
    expiresUnixMs: pass.expires,
    attrs: [{ name: 'role', value: pass.role }, ...handedOn(request.attrs)],
  });
}

/** Takes a pass apart; undefined if it is none. The identity may have dots of its own. */
function read(token) {
  const parts = /^([^\x00-\x1f]+)\.(listener|speaker|presenter)\.([0-9]{1,15})\.([0-9a-f]{64})$/.exec(token);
  if (!parts || bytesOf(parts[1]).length > IDENTITY_BYTES) return undefined;
  const [, identity, role, expires, signature] = parts;
  return {
    signed: `${identity}.${role}.${expires}`,
    identity,
    role,
    expires: BigInt(expires),
    signature: Uint8Array.from(signature.match(/../g), (pair) => parseInt(pair, 16)),
  };
}

/** A name as others see it: without blanks around it, and not too long. Counted in characters, not UTF-16 units. */
function shown(name) {
  return [...name.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '')].slice(0, NAME_CHARACTERS).join('');
}

/** What the application says about a person (`app-…`) goes along with the grant. */
function handedOn(attrs) {
  const fits = ({ name, value }) =>
    name.startsWith('app-') && bytesOf(name).length <= HANDED_ON_BYTES && bytesOf(value).length <= HANDED_ON_BYTES;
  return attrs.filter(fits).slice(0, HANDED_ON);
}

function grant(grant) {
  const usual = { publish: true, subscribe: true, data: true, admin: false, consult: [], attrs: [] };
  return { tag: 'grant', val: { ...usual, ...grant } };
}

function refuse(code, message) {
  return { tag: 'refuse', val: { code, message, attrs: [] } };
}
