// Strip charts on uPlot: a window of time that moves, marks drawn behind the lines.

import { colour, number } from "./format.js";

const FONT = "11px system-ui, sans-serif";

/** A chart in `host` that shows `seconds` up to the moment it is drawn at. */
export class Strip {
  /**
   * @param series  [{label, colour (a token), width, fill}] one per line.
   * @param options {seconds, range: (min, max) => [low, high], behind: (chart) => void, xAxis, axisSize,
   *   splits: () => values to mark on the y axis, values: how to write them, bands}
   */
  constructor(host, series, options) {
    this.host = host;
    this.seconds = options.seconds;
    const axis = {
      stroke: () => colour("muted"),
      font: FONT,
      grid: { stroke: () => colour("grid"), width: 1 },
      ticks: { show: false },
    };
    this.chart = new uPlot(
      {
        width: Math.max(host.clientWidth, 50),
        height: Math.max(host.clientHeight, 30),
        padding: [options.xAxis ? 10 : 4, options.xAxis ? 14 : 6, options.xAxis ? 0 : 4, 0],
        legend: { show: false },
        cursor: { show: false },
        select: { show: false },
        scales: { x: { time: false }, y: { range: (u, low, high) => options.range(low, high) } },
        axes: [
          {
            ...axis,
            show: Boolean(options.xAxis),
            size: 20,
            values: (u, splits) => splits.map((split) => (split === 0 ? "now" : `${number(split)} s`)),
          },
          {
            ...axis,
            size: options.axisSize ?? 40,
            space: 24,
            splits: options.splits,
            values: options.values ?? ((u, splits) => splits.map((split) => number(split, 2))),
          },
        ],
        series: [
          {},
          ...series.map((line) => ({
            label: line.label,
            stroke: () => colour(line.colour),
            fill: line.fill ? () => colour(line.fill) : undefined,
            width: line.width ?? 1.5,
            dash: line.dash,
            points: { show: false },
            spanGaps: false,
          })),
        ],
        bands: options.bands,
        hooks: { drawClear: [(u) => options.behind?.(u)] },
      },
      [[], ...series.map(() => [])],
      host,
    );
    this.chart.root.setAttribute("aria-hidden", "true");
    new ResizeObserver(() => {
      if (host.clientWidth > 0 && host.clientHeight > 0) {
        this.chart.setSize({ width: host.clientWidth, height: host.clientHeight });
      }
    }).observe(host);
  }

  /** Draw `data` ([times before now, values ...]), newest at 0. */
  draw(data) {
    this.chart.batch(() => {
      this.chart.setData(data, false);
      this.chart.setScale("x", { min: -this.seconds, max: 0 });
    });
  }
}

/** Shade [from, to] (seconds before now) over the whole height of a chart. */
export function shade(chart, from, to, token) {
  const left = Math.max(chart.valToPos(from, "x", true), chart.bbox.left);
  const right = Math.min(chart.valToPos(to, "x", true), chart.bbox.left + chart.bbox.width);
  if (right <= left) return;
  chart.ctx.fillStyle = colour(token);
  chart.ctx.fillRect(left, chart.bbox.top, right - left, chart.bbox.height);
}

/** A dashed vertical line with a word at its top. */
export function mark(chart, at, word, token) {
  const x = Math.round(chart.valToPos(at, "x", true)) + 0.5;
  if (x < chart.bbox.left || x > chart.bbox.left + chart.bbox.width) return;
  const { ctx } = chart;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour(token);
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.beginPath();
  ctx.moveTo(x, chart.bbox.top);
  ctx.lineTo(x, chart.bbox.top + chart.bbox.height);
  ctx.stroke();
  ctx.font = `${10 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "top";
  ctx.fillText(word, x + 3 * ratio, chart.bbox.top);
  ctx.restore();
}

/** Columns of `series` in the window before `time`, thinned to about `points` rows: [times, values ...]. */
export function window(series, columns, time, seconds, points = 600) {
  const first = series.until(time - seconds);
  const last = series.until(time);
  const step = Math.max(1, Math.floor((last - first) / points));
  // Aligned to the stream, not to the window: else the picture would shimmer as it moves.
  const start = Math.ceil(first / step) * step;
  const data = [[], ...columns.map(() => [])];
  for (let row = start; row < last; row += step) {
    data[0].push(series.stamps[row] - time);
    columns.forEach((column, index) => {
      const value = series.value(row, column);
      data[index + 1].push(Number.isNaN(value) ? null : value);
    });
  }
  return data;
}

/** Smallest and largest value of a column per bin of `bin` seconds: what a raw trace looks like from afar. */
export function envelope(series, column, time, seconds, bin) {
  const times = [];
  const low = [];
  const high = [];
  let row = series.until(time - seconds);
  const last = series.until(time);
  let sum = 0;
  for (let index = row; index < last; index += 1) sum += series.value(index, column) || 0;
  const mean = sum / Math.max(last - row, 1);
  while (row < last) {
    const slot = Math.floor(series.stamps[row] / bin);
    let smallest = Infinity;
    let largest = -Infinity;
    while (row < last && Math.floor(series.stamps[row] / bin) === slot) {
      const value = series.value(row, column) - mean;
      if (value < smallest) smallest = value;
      if (value > largest) largest = value;
      row += 1;
    }
    times.push((slot + 0.5) * bin - time);
    low.push(smallest === Infinity ? null : smallest);
    high.push(largest === -Infinity ? null : largest);
  }
  return [times, low, high];
}
