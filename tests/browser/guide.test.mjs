/**
 * The guide's first page, typed line by line as somebody new would: from an empty folder to a policy in force, a browser
 * that it decides about, an edit, a swap, and the reasons. What was typed and what came of it is written to
 * tests/output/guide.txt, each line with how long it took: nearly all of that is cargo, twice from the beginning.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { enter, openBrowser, openPage, SMALL } from './browser.mjs';
import { binary, startHost } from './host.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const GUIDE = readFileSync(join(ROOT, 'sdk/README.md'), 'utf8');
const OUTPUT = join(ROOT, 'tests/output');

test('from nothing to a policy in force in five minutes', { timeout: 900_000 }, async (t) => {
  const author = new Author(t);
  const began = performance.now();
  const page = GUIDE.split('\n## From nothing to a running policy\n')[1].split('\n## ')[0];
  const blocks = [...page.matchAll(/```sh\n(.*?)```/gs)].map(([, text]) => text.trim().split('\n'));
  const [first, serve, second, last] = blocks;

  author.note('One edit: a room is full with one person.');
  await author.type(first[0]);
  await author.type(first[1]);
  author.edit('src/lib.rs', 'Self { people: 8 }', 'Self { people: 1 }');
  for (const line of first.slice(2)) await author.type(line);

  const host = await author.serve(serve[0]);
  const browser = await openBrowser(t);
  await author.does('Ada opens the page in a browser and joins', () => enter(browser, host.url, { room: 'harbour', name: 'Ada' }));
  const reason = await author.does('Grace tries, too', () => refused(browser, host.url, 'Grace'));
  assert.match(reason, /This room is full\./);
  author.say(`the page says: ${reason}`);

  author.edit('src/lib.rs', 'Self { people: 1 }', 'Self { people: 2 }');
  for (const line of second) await author.type(line);
  await author.does('Grace tries again', () => enter(browser, host.url, { room: 'harbour', name: 'Grace' }));
  author.say('she is in');
  for (const line of last) await author.type(line);

  const text = author.transcript();
  mkdirSync(OUTPUT, { recursive: true });
  writeFileSync(join(OUTPUT, 'guide.txt'), text);
  for (const word of ['4 of 4 as expected', 'in force: front-door', 'refuse full: This room is full.', 'generation 4', ' otherwise']) {
    assert.ok(text.includes(word), `${word} is missing in:\n${text}`);
  }
  const took = performance.now() - began;
  t.diagnostic(`${Math.round(took / 1000)} s, of which: ${author.longest()}`);
});

/** Asks to enter; what the page says instead. */
async function refused(browser, url, name) {
  const page = await openPage(browser, `${url}/?${new URLSearchParams({ room: 'harbour', name, auto: '1', camera: SMALL })}`);
  const alert = page.locator('#refusal');
  await alert.waitFor({ state: 'visible' });
  const text = await alert.textContent();
  await page.close();
  return text.trim();
}

/** Somebody at an empty folder, and all that they see. */
class Author {
  #lines = [];
  #steps = [];
  #host = null;

  constructor(t) {
    this.t = t;
    this.folder = mkdtempSync(join(tmpdir(), 'tidegate-guide-'));
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  note(text) {
    this.#lines.push(`# ${text}`, '');
  }

  say(text) {
    this.#lines.push(text, '');
  }

  /** Types one line of the guide. A comment in it is the guide's. */
  async type(line) {
    const [command] = line.split(' #');
    const words = command.trim().split(/\s+/);
    this.#lines.push(`$ ${command.trim()}`);
    if (words[0] === 'cd') {
      this.folder = join(this.folder, words[1]);
      this.#lines.push('');
      return;
    }
    if (words[1] === 'policy' || words[2] === 'explain') words.push('--host', this.#host.url);
    const { code, said, ms } = await this.#run(words);
    this.#steps.push([command.trim(), ms]);
    this.#lines.push(said.trimEnd(), `(${(ms / 1000).toFixed(1)} s${code ? `, exit code ${code}` : ''})`, '');
    // A replay that finds differences ends with 3: what was changed in between is one.
    assert.ok(code === 0 || (words[2] === 'replay' && code === 3), `${line}:\n${this.transcript()}`);
  }

  /** Something that is done by hand. */
  async does(what, act) {
    const began = performance.now();
    const result = await act();
    const ms = performance.now() - began;
    this.#steps.push([what, ms]);
    this.#lines.push(`# ${what} (${(ms / 1000).toFixed(1)} s)`);
    return result;
  }

  edit(file, from, to) {
    const path = join(this.folder, file);
    const text = readFileSync(path, 'utf8');
    assert.ok(text.includes(from), `${file} holds no ${from}`);
    writeFileSync(path, text.replace(from, to));
    this.#lines.push(`# in ${file}: ${from} → ${to}`, '');
  }

  /** Starts the host as the guide does, on ports of its own. */
  async serve(line) {
    this.#lines.push(`$ ${line}`);
    const words = line.trim().split(/\s+/).slice(1);
    const began = performance.now();
    this.#host = await startHost(this.t, { cwd: this.folder, flags: words });
    const ms = performance.now() - began;
    this.#steps.push([line, ms]);
    this.#lines.push(this.#host.log.trimEnd(), `(${(ms / 1000).toFixed(1)} s)`, '');
    return this.#host;
  }

  #run([program, ...words]) {
    const began = performance.now();
    const path = [dirname(binary()), process.env.PATH].join(delimiter);
    const env = { ...process.env, PATH: path, CARGO_NET_OFFLINE: 'true', CARGO_TERM_COLOR: 'never' };
    delete env.CARGO_TARGET_DIR;
    const child = spawn(program, words, { cwd: this.folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data));
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, said, ms: performance.now() - began }));
    });
  }

  transcript() {
    return `${this.#lines.join('\n')}\n`;
  }

  /** The steps that took longest. */
  longest() {
    const steps = this.#steps.toSorted(([, one], [, other]) => other - one).slice(0, 6);
    return steps.map(([what, ms]) => `${what} ${(ms / 1000).toFixed(1)} s`).join('; ');
  }
}
