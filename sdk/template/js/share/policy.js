// {{name}}: a shared screen comes before every face, and a camera never takes all. Knows nothing of how a layer is
// chosen.

import { description, expectNothing } from './lifecycle.js';

/** What one camera may take of anybody's bit rate. */
const CAMERA_KBPS = 1500n;
/** An answer holds for so many periods at most. */
const PERIODS = 3;

export const lifecycle = {
  describe: () => description(),
  configure: (setup) => expectNothing(setup),
};

export const sharing = {
  share({ tracks, periodMs }) {
    const [kind, source] = [labels(tracks, 'kind'), labels(tracks, 'source')];
    // What is 0 is left to the host's own rule.
    const [ceilings, priorities] = [new BigUint64Array(tracks.rows), new BigUint64Array(tracks.rows)];
    for (let row = 0; row < tracks.rows; row++) {
      // Sound is not divided: it is always sent first, and whole.
      if (kind(row) !== 'video') continue;
      if (source(row) === 'screen') priorities[row] = 1n;
      else ceilings[row] = CAMERA_KBPS;
    }
    return {
      tracks: [
        { name: 'ceiling', unit: 'kbps', values: ceilings },
        { name: 'priority', unit: 'level', values: priorities },
      ],
      validMs: PERIODS * periodMs,
      attrs: [],
    };
  },
};

/** What rows say in a column of texts; nothing where there is no such column. */
function labels(table, name) {
  const { texts, values } = table.labels.find((column) => column.name === name) ?? { texts: [], values: [] };
  return (row) => texts[values[row]] ?? '';
}
