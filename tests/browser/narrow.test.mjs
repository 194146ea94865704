/** A way that turns narrow: the picture steps down instead of freezing, and up again when there is room. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHROMIUM, enter, openBrowser } from './browser.mjs';
import { startHost } from './host.mjs';
import { longestGap, received, sent, watchFrames } from './media.mjs';
import { Namespace, possible } from './network.mjs';
import { stopwatch, until } from './until.mjs';

const WIDE_KBPS = 3_000;
/** Through it fits the lowest encoding (150 kbit/s) or the next one (500) with fewer frames, not the full one with any. */
const NARROW_KBPS = 300;
const CAMERA = '960x540';
const FULL_WIDTH = 960;
const STEP_MS = 40_000;
/** Between two frames, however busy the machine: a freeze until a keyframe by chance takes longer. */
const GAP_MS = 2_000;

test('a narrow way', { skip: !possible() && 'network namespaces need root', timeout: 300_000 }, async (t) => {
  const network = new Namespace(t);
  network.limitTo(WIDE_KBPS);
  const host = await startHost(t, { address: network.hostAddress });
  const origin = host.urlFromOutside;
  const [stage, seats] = await Promise.all([
    openBrowser(t),
    openBrowser(t, { executablePath: network.chromium(CHROMIUM), origin, viewport: { width: 1280, height: 800 } }),
  ]);
  const room = 'strait';
  const ada = await enter(stage, host.url, { room, name: 'Ada', camera: CAMERA, audio: '0' });
  const grace = await enter(seats, origin, { room, name: 'Grace', video: '0', audio: '0' });
  await grace.click('.tile:not(.self) .enlarge');
  const comes = (fits, what) => until(what, STEP_MS, async () => fits((await video(grace)).width));
  const lasted = stopwatch();
  const steps = [];
  const note = (what) => steps.push(`${what} at ${lasted()} ms`);

  await comes((width) => width === FULL_WIDTH, 'the full picture comes');
  await watchFrames(grace);
  await until('frames are watched', STEP_MS, () => grace.evaluate(() => window.frames_.length > 10));
  note('full');
  network.limitTo(NARROW_KBPS);
  await comes((width) => width < FULL_WIDTH, 'the picture steps down');
  const { frames, width } = await video(grace);
  note(`${width} pixels`);
  await until('the small picture moves', STEP_MS, async () => (await video(grace)).frames > frames + 30);
  network.limitTo(WIDE_KBPS);
  await comes((width) => width === FULL_WIDTH, 'the full picture is back');
  note('back');
  const gap = await longestGap(grace);
  t.diagnostic(`${steps.join(', ')}; longest gap ${gap} ms`);
  assert.ok(gap < GAP_MS, `a gap of ${gap} ms`);
});

async function video(page) {
  return (await received(page)).find(({ kind }) => kind === 'video') ?? {};
}
