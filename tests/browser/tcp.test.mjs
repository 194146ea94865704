/** A person whose network passes no UDP gets its call over TCP (RFC 6544), whichever shard its stream reaches. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { CHROMIUM, enter, openBrowser } from './browser.mjs';
import { singlePort, spread, startHost } from './host.mjs';
import { everyoneSeesAndHears, received, stoodStill } from './media.mjs';
import { Namespace, possible } from './network.mjs';

const NAMES = ['Ada', 'Grace', 'Alan'];

for (const [flags, words] of [[[], 'each shard behind its own port'], [singlePort, 'all shards behind one port']]) {
  test(words, { skip: !possible() && 'network namespaces need root', timeout: 300_000 }, async (t) => {
    const network = new Namespace(t);
    const host = await startHost(t, { shards: 2, flags: [...spread, ...flags], address: network.hostAddress });
    const origin = host.urlFromOutside;
    network.blockUdp();
    const [hall, abroad] = await Promise.all([
      openBrowser(t), openBrowser(t, { executablePath: network.chromium(CHROMIUM), origin }),
    ]);
    const room = 'harbour';
    const ada = await enter(hall, host.url, { room, name: 'Ada' });
    // Two, so that with one port either's stream may be another shard's.
    const grace = await enter(abroad, origin, { room, name: 'Grace' });
    const alan = await enter(abroad, origin, { room, name: 'Alan' });
    const pages = [ada, grace, alan];
    await everyoneSeesAndHears(pages, NAMES, 30_000);
    assert.deepEqual(await Promise.all(pages.map(protocol)), ['udp', 'tcp', 'tcp']);
    const before = await Promise.all(pages.map(received));
    await pause(5_000);
    const after = await Promise.all(pages.map(received));
    assert.deepEqual(pages.flatMap((_, n) => stoodStill(before[n], after[n]).map((what) => `${what} at ${NAMES[n]}`)), []);
    assert.equal(await host.stop(), 0, host.log);
  });
}

/** What the selected pair goes over. */
function protocol(page) {
  return page.evaluate(async () => {
    const report = await window.tidegate.peerConnection.getStats();
    const transport = [...report.values()].find((one) => one.type === 'transport');
    return report.get(report.get(transport.selectedCandidatePairId).remoteCandidateId).protocol;
  });
}
