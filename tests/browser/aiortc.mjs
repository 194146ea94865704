/** Runs aiortc/whip.py, a WebRTC stack that is not ours. Knows nothing of what is asked of it. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { until } from './until.mjs';

const HERE = fileURLToPath(new URL('aiortc/', import.meta.url));
const PYTHON = process.env.AIORTC_PYTHON ?? `${HERE}venv/bin/python`;
const TIMEOUT_MS = 30_000;

/** What is missing for it, in words; false where nothing is. */
export const missing = !existsSync(PYTHON) &&
  'python3 -m venv tests/browser/aiortc/venv && tests/browser/aiortc/venv/bin/pip install -r tests/browser/aiortc/requirements.txt';

/** Publishes to or plays from this address. */
export class Aiortc {
  #process;
  #said = {};
  #errors = '';

  constructor(t, role, url, token) {
    this.#process = spawn(PYTHON, [`${HERE}whip.py`, role, url, token]);
    t.after(() => this.#process.kill());
    this.#process.stderr.on('data', (data) => (this.#errors += data));
    createInterface({ input: this.#process.stdout }).on('line', (line) => Object.assign(this.#said, JSON.parse(line)));
  }

  /** Waits until what it said last of each thing satisfies `condition`; resolves to that. */
  async until(what, condition) {
    await until(what, TIMEOUT_MS, () => {
      if (condition(this.#said)) return true;
      if (this.#process.exitCode === null) return false;
      throw new Error(`aiortc ended before ${what}: ${this.#errors}`);
    }).catch((error) => {
      throw new Error(`${error.message}; aiortc said ${JSON.stringify(this.#said)} ${this.#errors}`);
    });
    return this.#said;
  }

  /** Lets it delete its resource; resolves to the status of that. */
  async end() {
    this.#process.stdin.end();
    return (await this.until('it deletes its resource', ({ deleted }) => deleted)).deleted;
  }
}
