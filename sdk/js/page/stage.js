/**
 * How the tiles stand: side by side, or one large and the others in a strip beside it.
 * Knows nothing of sessions: it is given tiles and told who speaks.
 */

/** With more tiles than this, who speaks stands large, unless somebody chose otherwise. */
const GRID_UP_TO = 4;
/** A word in between moves nobody. */
const HOLD_MS = 2_000;
const STRIP_WIDTH = 200;
const STRIP_HEIGHT = 96;
const GAP = 12;

export class Stage {
  #grid;
  #tiles;
  #pinned = null;
  #chosen = null;
  #speaker = null;
  #wanted = null;
  #since = -Infinity;
  #timer = null;

  /** `tiles` maps keys to `{ element, source }`; it is looked at, never changed. */
  constructor(grid, tiles) {
    this.#grid = grid;
    this.#tiles = tiles;
  }

  /** `grid` or `speaker`. */
  get view() {
    return this.#chosen ?? (this.#tiles.size > GRID_UP_TO || this.#screen() ? 'speaker' : 'grid');
  }

  choose(view) {
    this.#chosen = view;
    this.#pinned = null;
    this.arrange();
  }

  /** Forgets who was large and what was chosen. */
  reset() {
    clearTimeout(this.#timer);
    this.#pinned = this.#chosen = this.#speaker = this.#wanted = null;
  }

  /** Keeps one large whoever speaks, until it is pinned again. */
  togglePin(key) {
    this.#pinned = this.#pinned === key ? null : key;
    this.arrange();
  }

  /** Who speaks, the most dominant first; oneself is not shown to oneself. */
  speaking(keys) {
    this.#wanted = keys.find((key) => key !== 'self' && this.#tiles.has(key)) ?? this.#wanted;
    clearTimeout(this.#timer);
    if (this.#wanted === this.#speaker) return;
    const left = this.#since + HOLD_MS - performance.now();
    if (left > 0) this.#timer = setTimeout(() => this.#follow(), left);
    else this.#follow();
  }

  #follow() {
    this.#speaker = this.#wanted;
    this.#since = performance.now();
    this.arrange();
  }

  #screen() {
    return [...this.#tiles].filter(([, { source }]) => source === 'screen').at(-1)?.[0];
  }

  #large() {
    if (this.#tiles.size < 2) return null;
    if (this.#tiles.has(this.#pinned)) return this.#pinned;
    if (this.view === 'grid') return null;
    const speaker = this.#tiles.has(this.#speaker) ? this.#speaker : null;
    return this.#screen() ?? speaker ?? [...this.#tiles.keys()].find((key) => key !== 'self') ?? null;
  }

  /** To be called whenever tiles come, go, or the window's size changes. */
  arrange() {
    const large = this.#large();
    const columns = this.#columns();
    [...this.#tiles].forEach(([key, { element }], n) => {
      element.classList.toggle('large', key === large);
      element.querySelector('.enlarge').setAttribute('aria-pressed', String(key === this.#pinned));
      element.style.gridColumn = large === null ? this.#column(n, columns) : '';
    });
    this.#grid.dataset.layout = large === null ? 'grid' : this.#strip();
    this.#grid.style.setProperty('--halves', 2 * columns);
    this.#grid.style.setProperty('--others', Math.max(1, this.#tiles.size - 1));
  }

  /** Where the strip leaves the larger picture: `side` or `below`. */
  #strip() {
    const { width, height } = this.#room();
    const beside = picture(width - STRIP_WIDTH - GAP, height);
    return beside >= picture(width, height - STRIP_HEIGHT - GAP) ? 'side' : 'below';
  }

  /** The number of columns that gives 16:9 tiles the largest area. */
  #columns() {
    const { width, height } = this.#room();
    const count = this.#tiles.size;
    const area = (columns) => picture(width / columns, height / Math.ceil(count / columns));
    const choices = Array.from({ length: Math.max(1, count) }, (_, n) => n + 1);
    return choices.reduce((best, columns) => (area(columns) > area(best) ? columns : best));
  }

  /** Where the n-th tile stands, in halves of columns: the last row is centred if it is not full. */
  #column(n, columns) {
    const last = this.#tiles.size % columns;
    const begins = last > 0 && n === this.#tiles.size - last;
    return begins ? `${columns - last + 1} / span 2` : 'span 2';
  }

  #room() {
    return { width: this.#grid.clientWidth, height: this.#grid.clientHeight };
  }
}

/** The area of a 16:9 picture in this room. */
function picture(width, height) {
  return Math.min(width, (height * 16) / 9) * Math.min(height, (width * 9) / 16);
}
