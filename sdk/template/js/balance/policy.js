// {{name}}: one transport a tick, from the fullest shard to the emptiest. Knows nothing of how a transport moves.

import { all, column, open } from './cluster.js';
import { description, expectNothing } from './lifecycle.js';

export { clusterFeed } from './cluster.js';

export const lifecycle = {
  describe: () => description(),
  configure: (setup) => expectNothing(setup),
};

export const balancing = {
  balance() {
    const [transports, promised] = [column('transports'), column('reserved-transports')];
    // With those that were promised and that no report shows yet.
    const expected = (row) => transports(row) + promised(row);

    const from = first(all(), (row, most) => transports(row) >= transports(most));
    const to = first(open(), (row, least) => expected(row) < expected(least));
    const isWorth = from !== undefined && to !== undefined && transports(from) > expected(to) + 1n;
    return { wishes: isWorth ? [move(from, to)] : [], attrs: [] };
  },
};

/** The row that comes before all others; undefined if there is none. */
function first(rows, comesBefore) {
  return rows.reduce((best, row) => (best === undefined || comesBefore(row, best) ? row : best), undefined);
}

function move(fromRow, toRow) {
  const reason = 'to level the shards';
  return { action: 'move', fromRow, toRow, amount: 1n, unit: 'transports', reason, attrs: [] };
}
