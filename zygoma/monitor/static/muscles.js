// One strip per EMG channel: raw signal, envelope, bursts; z and share of the maximal contraction in figures.

import { Strip, envelope, shade, window } from "./charts.js";
import { colour, element, number, setText, spoken } from "./format.js";

const SECONDS = 10;
const BIN_S = 0.02;
const SMALLEST_UV = 20;
const HEADROOM = 1.15;

export class MusclesPanel {
  constructor() {
    this.host = document.getElementById("muscles");
    this.strips = [];
    this.built = "";
  }

  build(labels) {
    this.built = labels.join();
    this.host.replaceChildren();
    this.strips = labels.map((label) => {
      const row = element("div", "strip");
      const plot = element("div", "plot");
      const side = element("div", "readout");
      const z = element("output", "big");
      const rest = element("output", "small");
      const name = element("h3", label.endsWith("_R") ? "side-right" : "side-left", spoken(label));
      const burst = element("span", "burst");
      side.append(name, z, rest);
      plot.append(burst);
      row.append(plot, side);
      this.host.append(row);
      const strip = { label, row, z, rest, burst, bursts: [], span: SMALLEST_UV };
      const line = label.endsWith("_R") ? "right" : "left";
      strip.chart = new Strip(
        plot,
        [
          { label: "lowest", colour: "raw", width: 0.5 },
          { label: "highest", colour: "raw", width: 0.5 },
          { label: "envelope", colour: line, width: 2 },
        ],
        {
          seconds: SECONDS,
          xAxis: false,
          axisSize: 34,
          range: () => [-strip.span, strip.span],
          splits: () => [-rounded(strip.span), 0, rounded(strip.span)],
          values: (u, splits) => splits.map((split) => number(split)),
          bands: [{ series: [2, 1], fill: () => colour("raw") }],
          behind: (chart) => strip.bursts.forEach(([from, to]) => shade(chart, from, to, "burst")),
        },
      );
      return strip;
    });
  }

  draw(store, time) {
    const raw = store.series.get("EMG");
    const activity = store.series.get("MuscleActivity");
    const labels = (raw?.labels ?? []).filter((label) => !activity || activity.column.has(`${label}_z`));
    if (!labels.length) return;
    if (labels.join() !== this.built) this.build(labels);
    for (const strip of this.strips) {
      if (activity) this.figures(strip, activity, time);
      this.trace(strip, raw, activity, time);
    }
  }

  figures(strip, activity, time) {
    const { label } = strip;
    const z = activity.at(`${label}_z`, time);
    const share = activity.at(`${label}_mvc`, time);
    setText(strip.z, `z ${number(z, 1, true)}`);
    const level = `${number(activity.at(`${label}_envelope_uv`, time), 1)} µV`;
    setText(strip.rest, Number.isFinite(share) ? `${level} · ${number(share, 0)} %MVC` : `${level} · no MVC yet`);
    const bursting = activity.at(`${label}_burst`, time) > 0;
    strip.row.classList.toggle("bursting", bursting);
    setText(strip.burst, bursting ? "burst" : "");
  }

  trace(strip, raw, activity, time) {
    const [times, low, high] = envelope(raw, raw.column.get(strip.label), time, SECONDS, BIN_S);
    let lines = new Array(times.length).fill(null);
    strip.bursts = [];
    if (activity) {
      const level = activity.column.get(`${strip.label}_envelope_uv`);
      const burst = activity.column.get(`${strip.label}_burst`);
      lines = times.map((at) => {
        const row = activity.until(time + at) - 1;
        const value = row < 0 ? NaN : activity.value(row, level);
        return Number.isFinite(value) ? value : null;
      });
      const [stamps, flags] = window(activity, [burst], time, SECONDS, 4000);
      let start = null;
      stamps.forEach((at, index) => {
        if (flags[index] > 0 && start === null) start = at;
        if (!(flags[index] > 0) && start !== null) {
          strip.bursts.push([start, at]);
          start = null;
        }
      });
      if (start !== null) strip.bursts.push([start, 0]);
    }
    // The scale follows the 99th percentile and falls slowly, so that it does not jump about.
    const sizes = high.concat(low).map((value) => Math.abs(value ?? 0)).sort((one, other) => one - other);
    const wanted = Math.max(SMALLEST_UV, HEADROOM * (sizes[Math.floor(sizes.length * 0.99)] ?? 0));
    strip.span = wanted > strip.span ? wanted : strip.span + 0.05 * (wanted - strip.span);
    strip.chart.draw([times, low, high, lines]);
  }
}

/** The largest of 1, 2, 5, 10, 20 ... that leaves a little room below `span`. */
function rounded(span) {
  const power = 10 ** Math.floor(Math.log10(span * 0.9));
  return power * [5, 2, 1].find((step) => step * power <= span * 0.9);
}
