// {{name}}: the shard with the shortest forwarding delay, in the region that was asked for if it can be. Knows nothing
// of who asks.

import { column, isOpen, isThere, labels, open } from './cluster.js';
import { description, expectNothing, requireColumn } from './lifecycle.js';

export { clusterFeed } from './cluster.js';

/** Relays of one producer that may leave from one place before another becomes their parent. */
const FAN_OUT = 8;

export const lifecycle = {
  describe: () => description(),
  configure: (setup) => [...expectNothing(setup), ...requireColumn(setup, 'forward-delay-p99')],
};

export const allocation = {
  place(request) {
    const row = request.kind === 'relay' ? nearestParent(request.parents) : nearest(request.regionHint);
    if (row === undefined) throw { code: 'full', message: 'No shard is alive.', attrs: [] };
    return { row, attrs: [] };
  },
};

function nearest(region) {
  const [delayUs, regionOf] = [column('forward-delay-p99'), labels('region')];
  const elsewhere = (row) => region !== undefined && region !== regionOf(row);
  return least(open(), (row) => [elsewhere(row), delayUs(row)]);
}

/**
 * The fewest hops from the producer among those with a free branch, then the fewest relays; without one the fewest
 * relays. One that drains only if it must be.
 */
function nearestParent(parents) {
  const indices = [...(parents?.rows ?? []).keys()].filter((index) => isThere(parents.rows[index]));
  const chosen = least(indices, (index) => {
    const relays = parents.fanOut[index] ?? 0;
    const taken = relays >= FAN_OUT;
    return [!isOpen(parents.rows[index]), taken, taken ? 0 : (parents.depth[index] ?? 0), relays];
  });
  return chosen === undefined ? undefined : parents.rows[chosen];
}

/** The first of those that the least speaks against; what stands first weighs most. */
function least(candidates, against) {
  let best;
  for (const candidate of candidates) {
    const grounds = against(candidate);
    if (!best || isLess(grounds, best.grounds)) best = { candidate, grounds };
  }
  return best?.candidate;
}

function isLess(one, other) {
  const differs = one.findIndex((ground, index) => ground !== other[index]);
  return differs >= 0 && one[differs] < other[differs];
}
