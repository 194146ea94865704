/** The console behind an admin token: it asks, says when the token is wrong, and opens with the right one. */

import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openBrowser, openPage } from './browser.mjs';
import { adminToken, startHost } from './host.mjs';

const TOKEN = 'the operators of the tests know this';

test('the console asks for the admin token', { timeout: 60_000 }, async (t) => {
  const file = join(mkdtempSync(join(tmpdir(), 'tidegate-admin-')), 'token');
  writeFileSync(file, TOKEN);
  const host = await startHost(t, { flags: adminToken(file) });
  const browser = await openBrowser(t);
  const page = await openPage(browser, `${host.url}/console`);

  await page.waitForSelector('#ask[open]');
  assert.ok(await page.locator('#ask-problem').isHidden(), 'nothing was wrong yet');
  await page.keyboard.type('a guess');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#ask[open] #ask-problem:not([hidden])');
  await page.fill('#admin-token', TOKEN);
  await page.keyboard.press('Enter');
  await page.waitForSelector('body[data-state="live"]');
  assert.ok(await page.locator('#places [data-place]').count() > 0);

  await page.reload();
  await page.waitForSelector('body[data-state="live"]');
});
