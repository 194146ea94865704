/** Waiting for conditions. Knows nothing of what they are about. */

import { setTimeout as pause } from 'node:timers/promises';

/** Asks until the answer is truthy; what the last answer was is told when time is up. */
export async function until(what, milliseconds, ask, every = 100) {
  const end = performance.now() + milliseconds;
  let last;
  for (;;) {
    last = await ask();
    if (last) return last;
    if (performance.now() > end) throw new Error(`not within ${milliseconds} ms: ${what}`);
    await pause(every);
  }
}

/** Milliseconds since it was made. */
export function stopwatch() {
  const start = performance.now();
  return () => Math.round(performance.now() - start);
}
