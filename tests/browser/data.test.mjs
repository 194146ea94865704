/** Data channels and chat between two Chromiums on two shards: large messages, unreliable ones, refusals, people without. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openBrowser } from './browser.mjs';
import { spread, startHost, token, tokens } from './host.mjs';
import { until } from './until.mjs';

/** Opens a channel on each page and keeps what arrives: lengths, sums of bytes and senders. */
async function openChannels(pages, label, options) {
  for (const page of pages) {
    await page.evaluate(([label, options]) => {
      const channel = window.tidegate.openChannel(label, options);
      window.came = [];
      channel.addEventListener('message', ({ detail: { person, data } }) => {
        const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data);
        const sum = bytes.reduce((sum, byte, at) => (sum + byte * (at % 251)) % 1_000_003, 0);
        window.came.push({ person, length: bytes.length, sum, text: typeof data === 'string' });
      });
      window.channel = channel;
    }, [label, options]);
  }
  for (const page of pages) await until(`${label} opens`, 15_000, () => page.evaluate(() => window.channel.isOpen));
}

const came = (page) => page.evaluate(() => window.came);
const told = (page) => page.locator('#messages li').allTextContents();

async function chat(page, text) {
  if (await page.locator('#chat-panel').isHidden()) await page.click('#chat-button');
  await page.fill('#chat-text', text);
  await page.press('#chat-text', 'Enter');
}

test('data channels', { timeout: 300_000 }, async (t) => {
  const host = await startHost(t, { shards: 2, flags: spread });
  const browsers = await Promise.all([openBrowser(t), openBrowser(t)]);
  const [ada, grace] = await Promise.all([['Ada', 0], ['Grace', 1]].map(([name, n]) =>
    enter(browsers[n], host.url, { room: 'quay', name, audio: '0' })));
  const shards = await Promise.all([ada, grace].map((page) => page.evaluate(() => window.tidegate.place.shard)));
  assert.notEqual(shards[0], shards[1], 'they stand on two shards');

  await t.test('200 kB arrive whole, both ways', async () => {
    await openChannels([ada, grace], 'files', {});
    const sums = [];
    for (const page of [ada, grace]) {
      sums.push(await page.evaluate(() => {
        const bytes = new Uint8Array(200_000);
        for (let at = 0; at < bytes.length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
        window.channel.send(bytes);
        window.channel.send('and a text');
        return bytes.reduce((sum, byte, at) => (sum + byte * (at % 251)) % 1_000_003, 0);
      }));
    }
    for (const [page, sender, sum] of [[grace, ada, sums[0]], [ada, grace, sums[1]]]) {
      await until('both messages come', 20_000, async () => (await came(page)).length === 2);
      const [bytes, text] = await came(page);
      const person = await sender.evaluate(() => window.tidegate.person);
      assert.deepEqual(bytes, { person, length: 200_000, sum, text: false });
      assert.equal(text.text, true);
    }
  });

  await t.test('a message over the limit is refused, and the limit named', async () => {
    const refusal = await ada.evaluate(() => {
      try {
        window.channel.send(new Uint8Array(262_133));
        return null;
      } catch ({ code, message }) {
        return { code, message };
      }
    });
    assert.equal(refusal.code, 'message-too-long');
    assert.match(refusal.message, /262132/);
    await ada.evaluate(() => window.channel.send(new Uint8Array(262_132)));
    await until('the longest comes', 20_000, async () => (await came(grace)).some(({ length }) => length === 262_132));
  });

  await t.test('an unreliable, unordered channel carries messages', async () => {
    await openChannels([ada, grace], 'moves', { ordered: false, maxRetransmits: 0 });
    const kind = await ada.evaluate(async () => {
      for (let n = 0; n < 50; n++) {
        window.channel.send(new Uint8Array(100));
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return window.channel.bufferedAmount;
    });
    assert.equal(typeof kind, 'number');
    await until('most come', 10_000, async () => (await came(grace)).length >= 40);
  });

  await t.test('chat is told, counted and shown as text', async () => {
    await chat(ada, '<img src=x onerror=alert(1)> hello');
    await until('it is counted', 10_000, async () => (await grace.locator('#unread').textContent()) === '1');
    await grace.click('#chat-button');
    assert.deepEqual(await told(grace), ['Ada<img src=x onerror=alert(1)> hello']);
    assert.equal(await grace.locator('#messages img').count(), 0);
    await chat(grace, 'hi Ada');
    await until('the answer comes', 10_000, async () => (await told(ada)).includes('Gracehi Ada'));
    assert.deepEqual([ada.complaints, grace.complaints], [[], []]);
  });
});

test('chat of people without a data channel', { timeout: 90_000 }, async (t) => {
  const host = await startHost(t, { shards: 2, flags: spread });
  const browser = await openBrowser(t);
  const without = { room: 'quay', audio: '0', video: '0' };
  const ada = await enter(browser, host.url, { ...without, name: 'Ada' });
  const grace = await enter(browser, host.url, { ...without, name: 'Grace' });
  assert.equal(await ada.evaluate(() => window.tidegate.peerConnection.sctp), null, 'nothing was negotiated');
  await chat(ada, 'over the session');
  await until('it comes', 10_000, async () => (await told(grace)).includes('Adaover the session'));
});

test('who may not send messages is refused', { timeout: 90_000 }, async (t) => {
  const host = await startHost(t, { flags: tokens });
  const browser = await openBrowser(t);
  const grace = await enter(browser, host.url, { room: 'quay', name: 'Grace', audio: '0', token: token('quay', 'Grace') });
  const mute = await enter(browser, host.url, { room: 'quay', name: 'Mute', audio: '0', token: token('quay', 'Mute', 600, { data: false }) });
  await openChannels([grace, mute], 'files', {});
  await mute.evaluate(() => {
    window.refusals = [];
    window.tidegate.addEventListener('message-refused', ({ detail }) => window.refusals.push(detail));
    window.channel.send('psst');
  });
  await until('it is refused', 10_000, () => mute.evaluate(() => window.refusals.length === 1));
  assert.equal(await mute.evaluate(() => window.refusals[0].code), 'may-not-send');
  assert.equal(await mute.evaluate(() => window.refusals[0].channel), 'files');
  assert.deepEqual(await came(grace), []);
  await grace.evaluate(() => window.channel.send('but listen'));
  await until('it is heard', 10_000, async () => (await came(mute)).length === 1);
});
