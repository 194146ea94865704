/**
 * A call of three over two shards: everyone sees and hears everyone, one's address changes, one leaves, a
 * fourth is refused with a reason that can be read.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { enter, openBrowser, openPage, screenshot, CHROMIUM } from './browser.mjs';
import { spread, startHost, token, tokens } from './host.mjs';
import { everyoneSeesAndHears, received, stoodStill } from './media.mjs';
import { Namespace, possible } from './network.mjs';
import { stopwatch, until } from './until.mjs';

const ROOM = 'harbour';
const NAMES = ['Ada', 'Grace', 'Alan'];
const CALL_S = 20;

test('three people over two shards', { skip: !possible() && 'network namespaces need root', timeout: 240_000 }, async (t) => {
  const network = new Namespace(t);
  const host = await startHost(t, { shards: 2, flags: [...spread, ...tokens], address: network.hostAddress });
  const origin = host.urlFromOutside;
  const [hall, abroad] = await Promise.all([
    openBrowser(t), openBrowser(t, { executablePath: network.chromium(CHROMIUM), origin }),
  ]);
  const as = (name) => ({ room: ROOM, name, token: token(ROOM, name) });
  const ada = await enter(hall, host.url, as('Ada'));
  const grace = await enter(hall, host.url, as('Grace'));
  const alan = await enter(abroad, origin, as('Alan'));
  const pages = [ada, grace, alan];

  await t.test('everyone sees and hears everyone', () => everyoneSeesAndHears(pages, NAMES));

  await t.test('the admin API shows who sits where, and a relay between', async () => {
    const people = (await host.admin('people')).filter(({ room }) => room === ROOM);
    assert.deepEqual(people.map(({ name }) => name).sort(), [...NAMES].sort());
    const places = new Set(people.map(({ place }) => JSON.stringify(place)));
    assert.equal(places.size, 2, JSON.stringify(people));
    await until('a relay is open', 5_000, async () => (await host.admin('relays')).length > 0);
  });

  await t.test(`nothing stands still for ${CALL_S} s`, async () => {
    // The fake microphone beeps once a second: a window holds several beeps.
    for (let second = 0; second < CALL_S; second += 5) {
      const before = await Promise.all(pages.map(received));
      await pause(5_000);
      const after = await Promise.all(pages.map(received));
      const still = pages.flatMap((_, n) => stoodStill(before[n], after[n]).map((what) => `${what} at ${NAMES[n]}`));
      assert.deepEqual(still, [], `after ${second} s`);
    }
    await screenshot(ada, 'room');
  });

  await t.test('the console shows the call', async () => {
    const page = await openPage(hall, `${host.url}/console`);
    await page.waitForSelector(`[data-room="${ROOM}"] [data-person]`);
    await page.waitForFunction(() => document.querySelectorAll('#relays tbody tr').length > 0);
    assert.equal(await page.locator('[data-room] [data-person]').count(), NAMES.length);
    assert.equal(await page.locator('#places [data-place]').count(), 2);
    assert.ok((await page.locator('#policies tbody tr').count()) >= 2);
    assert.ok((await page.locator('#decisions details').count()) > 0);
    assert.ok(!(await page.content()).includes(token(ROOM, 'Ada').split('.')[2]), 'a token stands in the console');
    await screenshot(page, 'console');
    await page.close();
  });

  await t.test('a changed address is noticed and mended without the script', async () => {
    const before = await received(alan);
    const person = await alan.evaluate(() => window.tidegate.person);
    const elapsed = stopwatch();
    network.changeAddress();
    // The session is the same one (no rejoin), and media moves again in both directions.
    await until('Alan sees again', 30_000, async () => stoodStill(before, await received(alan)).length === 0
      && (await alan.evaluate(() => window.tidegate.peerConnection.iceConnectionState)) === 'connected'
      && (await usesAddress(alan, network.address.split('/')[0])));
    const seenByAda = await received(ada);
    await until('Ada sees Alan again', 15_000, async () => {
      const still = stoodStill(seenByAda, await received(ada));
      return !still.some((what) => what.startsWith('Alan'));
    });
    t.diagnostic(`mended in ${elapsed()} ms`);
    assert.equal(await alan.evaluate(() => window.tidegate.person), person);
  });

  await t.test('an expired token is refused, and the page says why', async () => {
    const late = await openPage(hall, `${host.url}/?${new URLSearchParams({
      room: ROOM, name: 'Katherine', auto: '1', video: '0', token: token(ROOM, 'Katherine', -60),
    })}`);
    const alert = late.locator('#refusal');
    await alert.waitFor({ state: 'visible' });
    assert.match(await alert.textContent(), /expired/i);
    assert.equal(await alert.getAttribute('role'), 'alert');
    assert.equal(await alert.getAttribute('data-code'), 'token-expired');
    assert.ok(!late.url().includes('token'), 'the token stays in the address bar');
    await screenshot(late, 'refused');
    await late.close();
  });

  await t.test('who leaves is gone for the others', async () => {
    await grace.click('#leave-button');
    await grace.waitForSelector('body[data-state="entry"]');
    await ada.waitForFunction(() => ![...document.querySelectorAll('.tile .who')].some((one) => one.textContent === 'Grace'));
    await until('the host let go of Grace', 5_000, async () =>
      !(await host.admin('people')).some(({ name }) => name === 'Grace'));
    const before = await received(ada);
    await pause(3_000);
    assert.deepEqual(stoodStill(before, await received(ada)), []);
  });

  assert.equal(await host.stop(), 0, host.log);
});

/** Whether media goes out from this address. A candidate's own address may be hidden; the host's view is not. */
async function usesAddress(page, address) {
  return page.evaluate(async (wanted) => {
    const report = await window.tidegate.peerConnection.getStats();
    const transport = [...report.values()].find((one) => one.type === 'transport');
    const pair = report.get(transport?.selectedCandidatePairId);
    const local = report.get(pair?.localCandidateId);
    return local?.address === wanted || local?.relatedAddress === wanted || local?.candidateType === 'prflx';
  }, address);
}
