/**
 * Starts, stops and asks a host process. All flags of the host that these tests use stand here.
 * Knows nothing of browsers.
 */

import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { until } from './until.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const START_MS = 60_000;
const STOP_MS = 4_000;
const PORT_TRIES = 3;
/** What the tests sign tokens with, and the host checks them by. */
const KEY = 'a key of the tests, long enough for HS256';

/** The host to test: `TIDEGATE`, else what was built. */
export function binary() {
  const candidates = [process.env.TIDEGATE, `${ROOT}target/release/tidegate`, `${ROOT}target/debug/tidegate`];
  const found = candidates.find((path) => path && existsSync(path));
  if (!found) throw new Error('no host to test: build it, or name it by TIDEGATE');
  return found;
}

export const spread = ['--policy', 'allocate=allocate-spread'];
export const selfSigned = ['--tls-self-signed'];
export const singlePort = ['--single-port'];
export const cmOnly = ['--srtp-profiles', 'aes-cm'];
/** What checks tokens of the tests. */
export const tokenKeys = { keys: [{ alg: 'HS256', key: KEY }] };
export const tokens = ['--policy', 'authorize=auth-token', '--policy-config', `authorize=${JSON.stringify(tokenKeys)}`];
export const adminToken = (file) => ['--admin-token-file', file];
export const component = (decision, path) => ['--policy', `${decision}=${path}`];

/** A token that lets `name` into `room` until `seconds` from now; `others` overrule what else it says. */
export function token(room, name, seconds = 600, others = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const expires = Math.floor(Date.now() / 1000) + seconds;
  const claims = { sub: name.toLowerCase(), name, room, publish: true, subscribe: true, data: true, exp: expires, ...others };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', KEY).update(signed).digest('base64url')}`;
}

/**
 * Starts a host. `flags` are added to the usual ones; `address` is one that other network namespaces reach
 * it by, besides loopback; `cwd` is the folder that it runs in.
 */
export async function startHost(t, { shards = 1, flags = [], address, scheme = 'http', cwd } = {}) {
  for (let tries = 1; ; tries++) {
    const host = new Host(await freePort(), shards, flags, address, scheme, cwd);
    t.after(() => host.kill());
    try {
      return await host.start();
    } catch (error) {
      // Somebody else may have taken the port meanwhile.
      if (tries === PORT_TRIES || !error.message.includes('Address already in use')) throw error;
    }
  }
}

class Host {
  #process = null;
  log = '';

  constructor(port, shards, flags, address, scheme, cwd) {
    this.port = port;
    this.cwd = cwd;
    this.url = `${scheme}://127.0.0.1:${port}`;
    this.urlFromOutside = address && `${scheme}://${address}:${port}`;
    const reachable = address ? ['--rtc-address', '127.0.0.1', '--rtc-address', address, '--allow-open'] : [];
    this.flags = [
      '--listen', `${address ? '0.0.0.0' : '127.0.0.1'}:${port}`, '--rtc-port', '0', '--shards', String(shards),
      // Browsers and host share two cores here: a host that shed layers because it is starved would be right, and the
      // tests of layers would fail.
      '--join-rate', '1000', '--shed-delay-ms', '0', ...reachable, ...flags,
    ];
  }

  async start() {
    const child = spawn(binary(), this.flags, { cwd: this.cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (this.log += data));
    await until('the host answers', START_MS, async () => {
      if (child.exitCode !== null) throw new Error(`the host ended with ${child.exitCode}: ${this.log}`);
      return (await get(`${this.url}/healthz`))?.ok;
    });
    return this;
  }

  /** Ctrl-C. Resolves to its exit code. */
  stop() {
    return this.#end('SIGINT');
  }

  kill() {
    return this.#end('SIGKILL');
  }

  async #end(signal) {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    child.kill(signal);
    const code = await ended;
    clearTimeout(timer);
    return code;
  }

  /** One list of the admin API. */
  async admin(part) {
    const response = await get(`${this.url}/api/v1/${part}`);
    if (!response?.ok) throw new Error(`/api/v1/${part} answered ${response?.status}`);
    return (await response.json())[part];
  }

  /** Tells the admin API to do something. */
  async order(path, body) {
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(`${this.url}/api/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`/api/v1/${path} answered ${response.status}: ${await response.text()}`);
  }
}

/** Runs the host where it must not start; resolves to its exit code and what it said. */
export function refusedStart(flags) {
  const child = spawn(binary(), ['--listen', '127.0.0.1:0', '--rtc-port', '0', ...flags]);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data));
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MS);
  return new Promise((resolve) => child.once('exit', (code) => {
    clearTimeout(timer);
    resolve({ code, said });
  }));
}

async function get(url) {
  return fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => null);
}

/** A port that was free a moment ago. */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '0.0.0.0', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
