/** Chromium with a fake camera and microphone, and the stock page in it. Knows nothing of hosts' flags. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const OUTPUT = fileURLToPath(new URL('../output/', import.meta.url));
/** Two cores carry three pages of this size. */
export const SMALL = '320x180';
export const LARGE = '1280x720';

/**
 * With `PAGES=source` the working tree's scripts and styles are served in place of those in the host: no build to try a
 * change. Documents are not: the browser would not let them reach the host.
 */
const SOURCES = process.env.PAGES === 'source' && {
  '/room.js': 'page/room.js', '/stage.js': 'page/stage.js', '/room.css': 'page/room.css',
  '/console.js': 'console/console.js', '/console.css': 'console/console.css', '/sdk/tidegate.js': 'tidegate.js',
};

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream=fps=15', '--autoplay-policy=no-user-gesture-required',
  '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows', '--disable-background-timer-throttling',
];

/** A browser of its own profile. `origin` is one to treat as secure although it is plain HTTP. */
export async function openBrowser(t, { executablePath = CHROMIUM, origin, viewport = { width: 960, height: 600 }, ignoreHTTPSErrors = false } = {}) {
  const profile = mkdtempSync(join(tmpdir(), 'tidegate-chromium-'));
  const args = origin ? [...FLAGS, `--unsafely-treat-insecure-origin-as-secure=${origin}`] : FLAGS;
  const context = await chromium.launchPersistentContext(profile, {
    executablePath, headless: true, args, viewport, bypassCSP: true, ignoreHTTPSErrors,
  });
  if (SOURCES) await serveSources(context);
  t.after(async () => {
    await context.close().catch(() => {});
    rmSync(profile, { recursive: true, force: true });
  });
  return context;
}

async function serveSources(context) {
  for (const [path, file] of Object.entries(SOURCES)) {
    const source = fileURLToPath(new URL(`../../sdk/js/${file}`, import.meta.url));
    await context.route((url) => url.pathname === path, (route) => route.fulfill({ path: source }));
  }
}

/** Opens a page, with what it complains about kept in `page.complaints`. */
export async function openPage(context, url) {
  const page = await context.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error.stack ?? error)));
  page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
  await page.goto(url);
  return page;
}

/** Joins through the stock page's address; resolves once inside. */
export async function enter(context, url, { room, name, token, camera = SMALL, video = '1', audio = '1' }) {
  const query = new URLSearchParams({ room, name, camera, video, audio, auto: '1' });
  if (token) query.set('token', token);
  const page = await openPage(context, `${url}/?${query}`);
  await page.waitForSelector('body[data-state="connected"]', { timeout: 20_000 }).catch((error) => {
    throw new Error(`${name} did not get in: ${error.message}\n${page.complaints.join('\n')}`);
  });
  return page;
}

export async function screenshot(page, name) {
  mkdirSync(OUTPUT, { recursive: true });
  await page.screenshot({ path: join(OUTPUT, `${name}.png`) });
}
