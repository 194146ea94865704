// Makes build/{{name}}.wasm out of policy.js. Without the engine's features nothing of WASI is left in it: no clock,
// no randomness, no network.

import { componentize } from '@bytecodealliance/componentize-js';
import { mkdir, writeFile } from 'node:fs/promises';

const { component } = await componentize({
  sourcePath: 'policy.js',
  witPath: 'wit/v1',
  worldName: '{{policy}}',
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await mkdir('build', { recursive: true });
await writeFile('build/{{name}}.wasm', component);
