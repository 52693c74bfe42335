// The last minute of everything, so that any moment of it can be shown again.

export const KEPT_S = 60;
const SLACK = 1.25;
const STALE_S = 3;
const IRREGULAR_HZ = 60;
const PICTURES_WHOLE_S = 10;
const PICTURES_THINNED_S = 0.2;

/** Rows of one stream in the order of their stamps; the oldest fall out. */
class Series {
  constructor(layout) {
    this.labels = layout.labels;
    this.units = layout.units;
    this.columns = layout.labels.length;
    this.capacity = Math.ceil(KEPT_S * SLACK * Math.max(layout.rate_hz || IRREGULAR_HZ, 10));
    this.stamps = new Float64Array(2 * this.capacity);
    this.values = new Float32Array(2 * this.capacity * this.columns);
    this.length = 0;
    this.column = new Map(layout.labels.map((label, index) => [label, index]));
  }

  push(stamps, values) {
    if (stamps.length > this.capacity) {
      const skipped = stamps.length - this.capacity;
      stamps = stamps.subarray(skipped);
      values = values.subarray(skipped * this.columns);
    }
    if (this.length + stamps.length > this.stamps.length) {
      const from = this.length - this.capacity;
      this.stamps.copyWithin(0, from, this.length);
      this.values.copyWithin(0, from * this.columns, this.length * this.columns);
      this.length = this.capacity;
    }
    this.stamps.set(stamps, this.length);
    this.values.set(values, this.length * this.columns);
    this.length += stamps.length;
  }

  /** Number of rows with a stamp at or before `time`. */
  until(time) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.stamps[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Value of `label` in the newest row at or before `time`; NaN when that is stale. */
  at(label, time) {
    const row = this.until(time) - 1;
    const column = this.column.get(label);
    if (row < 0 || column === undefined || time - this.stamps[row] > STALE_S) return NaN;
    return this.values[row * this.columns + column];
  }

  value(row, column) {
    return this.values[row * this.columns + column];
  }
}

export class Store {
  constructor() {
    this.series = new Map();
    this.layout = {};
    this.pictures = [];
    this.thermal = [];
    this.markers = [];
    this.events = [];
    this.offset = null;
    this.started = null;
  }

  /** Forget rows, events and markers: the engine tells again what there is of the last minute. */
  begin(events, markers) {
    for (const [kind, layout] of Object.entries(this.layout)) this.series.set(kind, new Series(layout));
    this.events = events;
    this.markers = markers;
  }

  setLayout(streams) {
    for (const [kind, layout] of Object.entries(streams)) {
      const known = this.layout[kind];
      if (!known || known.labels.join() !== layout.labels.join() || known.rate_hz !== layout.rate_hz) {
        this.series.set(kind, new Series(layout));
      }
    }
    this.layout = streams;
  }

  addRows(rows, parts) {
    for (const kind of Object.keys(rows)) {
      const stamps = parts[`${kind}.stamps`];
      this.series.get(kind)?.push(stamps, parts[`${kind}.values`]);
    }
  }

  /** Note what the engine's clock says now; the smallest delay seen tells the two clocks' offset best. */
  setClock(now) {
    const offset = now - performance.now() / 1000;
    if (this.offset === null || offset > this.offset || offset < this.offset - 1) this.offset = offset;
  }

  /** The engine's clock, seconds. */
  now() {
    return this.offset === null ? NaN : performance.now() / 1000 + this.offset;
  }

  addPicture(picture) {
    this.pictures.push(picture);
    const newest = picture.stamp;
    while (this.pictures.length && newest - this.pictures[0].stamp > KEPT_S) this.pictures.shift();
    // Older pictures are kept at five per second: enough to look back, small enough for a tablet.
    const old = this.pictures.findIndex((kept) => newest - kept.stamp <= PICTURES_WHOLE_S) - 1;
    if (old >= 1 && this.pictures[old].stamp - this.pictures[old - 1].stamp < PICTURES_THINNED_S) {
      this.pictures.splice(old, 1);
    }
  }

  addThermal(picture) {
    this.thermal.push(picture);
    while (picture.stamp - this.thermal[0].stamp > KEPT_S) this.thermal.shift();
  }

  addMarkers(markers) {
    this.markers.push(...markers);
    this.markers.splice(0, this.markers.length - 1000);
  }

  addEvent(event) {
    this.events.push(event);
    this.events.splice(0, this.events.length - 1000);
  }
}

/** The newest item of `items` with a stamp at or before `time`. */
export function newestAt(items, time) {
  for (let index = items.length - 1; index >= 0; index -= 1) {
    if (items[index].stamp <= time) return items[index];
  }
  return undefined;
}
