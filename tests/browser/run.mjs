/** Runs every browser test, one file at a time: two cores carry one call. Arguments choose files. */

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { binary } from './host.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const asked = process.argv.slice(2);
const files = readdirSync(here)
  .filter((file) => file.endsWith('.test.mjs') && (asked.length === 0 || asked.some((one) => file.includes(one))))
  .sort();

console.log(`host: ${binary()}`);
const child = spawn(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', ...files], { cwd: here, stdio: 'inherit' });
child.on('exit', (code) => (process.exitCode = code ?? 1));
