// The cluster as this instance holds it: one row a shard, told whole once and then by what changed. Knows nothing of
// what is decided.

/** What the last reset told, kept as it came, with what changed since; nothing before the first. */
let held = { generation: undefined, columns: [], labels: [], draining: new BigUint64Array(), removed: [] };

/** A column of BigInts by its name in wit/v1/cluster-feed.wit, as a function of the row; one that is missing is 0n. */
export function column(name) {
  const values = held.columns.find((column) => column.name === name)?.values ?? [];
  return (row) => values[row] ?? 0n;
}

/** A column of texts likewise; one that is missing is empty. */
export function labels(name) {
  const { texts, values } = held.labels.find((column) => column.name === name) ?? { texts: [], values: [] };
  return (row) => texts[values[row]] ?? '';
}

/** Is this a row of a shard that is not gone? It may be draining. */
export const isThere = (row) => held.removed[row] === false;

/** Does it take new work? */
export const isOpen = (row) => isThere(row) && !held.draining[row];

/** The rows that are there. */
export const all = () => [...held.removed.keys()].filter(isThere);

/** Those that take new work. */
export const open = () => [...held.removed.keys()].filter(isOpen);

/** What the host calls. */
export const clusterFeed = {
  reset(generation, rows, columns, labels) {
    const draining = columns.find((column) => column.name === 'draining')?.values ?? new BigUint64Array();
    // A row that is gone keeps its handle until the next reset.
    held = { generation, columns, labels, draining, removed: new Array(rows).fill(false) };
  },

  delta(generation, columns, rows, values, removed) {
    if (generation !== held.generation) throw 'resync';
    columns.forEach((column, index) => change(column, rows[index], values[index]));
    for (const row of removed) {
      if (row < held.removed.length) held.removed[row] = true;
    }
  },
};

function change(column, row, value) {
  const cells = held.columns[column]?.values;
  if (cells && value !== undefined && row < cells.length) cells[row] = value;
}
