/**
 * A policy that isn't stock: built by its guide's commands, it decides a join in a running host; with one line
 * changed it decides otherwise; broken, it keeps the host from starting.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { enter, openBrowser, openPage, screenshot, SMALL } from './browser.mjs';
import { binary, component, refusedStart, startHost } from './host.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = join(ROOT, 'examples/invite-only');
const LINE = 'const INVITED: &[&str] = &["Ada", "Grace"];';
const CHANGED = 'const INVITED: &[&str] = &["Ada", "Grace", "Mallory"];';

test('an own policy decides who enters', { timeout: 900_000 }, async (t) => {
  const workshop = mkdtempSync(join(tmpdir(), 'tidegate-policy-'));
  t.after(() => rmSync(workshop, { recursive: true, force: true }));
  copyExample(workshop);
  const browser = await openBrowser(t);

  await t.test('it refuses with its own reason, which the page shows', async (t) => {
    const host = await startHost(t, { flags: component('authorize', build(workshop)) });
    await enter(browser, host.url, { room: 'party', name: 'Ada' });
    await enter(browser, host.url, { room: 'party', name: 'Grace' });
    const page = await openPage(browser, `${host.url}/?${new URLSearchParams({ room: 'party', name: 'Mallory', auto: '1', camera: SMALL })}`);
    const alert = page.locator('#refusal');
    await alert.waitFor({ state: 'visible' });
    assert.match(await alert.textContent(), /Mallory is not on its list of guests/);
    assert.equal(await alert.getAttribute('data-code'), 'not-invited');
    await screenshot(page, 'not-invited');
    const [policy] = (await host.admin('policies')).filter(({ decision }) => decision === 'authorize');
    assert.match(policy.origin, /\.wasm$/);
  });

  await t.test('after one changed line it decides otherwise', async (t) => {
    const source = join(workshop, 'src/lib.rs');
    const before = readFileSync(source, 'utf8');
    assert.ok(before.includes(LINE), 'the example changed: change this test with it');
    writeFileSync(source, before.replace(LINE, CHANGED));
    const host = await startHost(t, { flags: component('authorize', build(workshop)) });
    await enter(browser, host.url, { room: 'party', name: 'Ada' });
    await enter(browser, host.url, { room: 'party', name: 'Mallory' });
  });

  await t.test('broken, it is said what is wrong, and the host does not start', async () => {
    const broken = join(workshop, 'broken.wasm');
    writeFileSync(broken, 'this is no component');
    const { code, said } = await refusedStart(component('authorize', broken));
    assert.equal(code, 1, said);
    assert.ok(said.includes(broken), said);
  });
});

function copyExample(workshop) {
  const keep = (path) => !path.startsWith(join(EXAMPLE, 'target'));
  cpSync(EXAMPLE, workshop, { recursive: true, filter: keep });
  const manifest = join(workshop, 'Cargo.toml');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replaceAll(/path = "(\.\.[^"]*)"/g, (_, path) => `path = "${join(EXAMPLE, path)}"`));
}

/** The guide's two commands; the path of the component. */
function build(workshop) {
  const cargo = (...words) => execFileSync('cargo', words, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  cargo('build', '--release', '--target', 'wasm32-unknown-unknown', '--manifest-path', join(workshop, 'Cargo.toml'), '--target-dir', join(workshop, 'target'));
  const core = join(workshop, 'target/wasm32-unknown-unknown/release/invite_only.wasm');
  const wrapped = join(workshop, 'invite-only.wasm');
  const wrap = join(dirname(binary()), 'tidegate-wrap');
  if (existsSync(wrap)) execFileSync(wrap, [core, wrapped]);
  else cargo('run', '--release', '-p', 'tidegate-wrap', '--', core, wrapped);
  return wrapped;
}
