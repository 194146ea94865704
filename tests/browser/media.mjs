/** What arrives at a page, read from its peer connection. Knows nothing of how it got there. */

import { until } from './until.mjs';

/** One entry a received track: whose, kind, frames decoded, audio energy, bytes, width. */
export function received(page) {
  return page.evaluate(async () => {
    const session = window.tidegate;
    const report = [...(await session.peerConnection.getStats()).values()];
    return [...session.tracks.values()].map((track) => {
      const stats = report.find((one) => one.type === 'inbound-rtp' && one.mid === track.mid) ?? {};
      return {
        person: session.people.get(track.person)?.name,
        kind: track.kind,
        source: track.source,
        encoding: track.encoding,
        frames: stats.framesDecoded ?? 0,
        energy: stats.totalAudioEnergy ?? 0,
        bytes: stats.bytesReceived ?? 0,
        width: stats.frameWidth ?? 0,
        at: stats.timestamp ?? 0,
      };
    });
  });
}

/** What this page sends, by rid: frames encoded, width, bytes. */
export function sent(page) {
  return page.evaluate(async () => {
    const report = [...(await window.tidegate.peerConnection.getStats()).values()];
    return report.filter((one) => one.type === 'outbound-rtp').map((one) => ({
      kind: one.kind, rid: one.rid ?? '', frames: one.framesEncoded ?? 0, width: one.frameWidth ?? 0, bytes: one.bytesSent,
    }));
  });
}

const amount = (track) => (track.kind === 'video' ? track.frames : track.energy);
const key = (track) => `${track.person}'s ${track.source}`;

/** Waits until each page receives one audible and one moving track from every named person. */
export async function everyoneSeesAndHears(pages, names, milliseconds = 20_000) {
  let missing = [];
  await until('everyone sees and hears everyone', milliseconds, async () => {
    missing = (await Promise.all(pages.map((page) => missingAt(page, names)))).flat();
    return missing.length === 0;
  }).catch((error) => {
    throw new Error(`${error.message}; missing: ${missing.join(', ')}`);
  });
}

async function missingAt(page, names) {
  const self = await page.evaluate(() => window.tidegate.name);
  const flowing = (await received(page)).filter((track) => amount(track) > 0);
  const wanted = names.filter((name) => name !== self).flatMap((name) => [`${name}/audio`, `${name}/video`]);
  const have = new Set(flowing.map((track) => `${track.person}/${track.kind}`));
  return wanted.filter((one) => !have.has(one)).map((one) => `${one} at ${self}`);
}

/** Returns what stood still between two readings of one page. */
export function stoodStill(before, after) {
  const past = new Map(before.map((track) => [key(track), amount(track)]));
  return after.filter((track) => amount(track) <= (past.get(key(track)) ?? -1)).map(key);
}

/**
 * Notes every presented frame of the first tile that is not one's own, in `frames_`: when and how wide. Until
 * `stopWatching()`, or until it begins anew.
 */
export function watchFrames(page) {
  return page.evaluate(() => {
    window.stopWatching?.();
    const element = document.querySelector('.tile:not(.self) video');
    window.frames_ = [];
    let handle;
    const note = (now, { presentationTime, width }) => {
      window.frames_.push({ at: presentationTime, width });
      handle = element.requestVideoFrameCallback(note);
    };
    handle = element.requestVideoFrameCallback(note);
    window.stopWatching = () => element.cancelVideoFrameCallback(handle);
  });
}

/** The longest time between two frames that were presented since then, in milliseconds. */
export function longestGap(page) {
  return page.evaluate(() => {
    const gaps = window.frames_.slice(1).map((one, n) => one.at - window.frames_[n].at);
    return Math.round(Math.max(0, ...gaps));
  });
}
