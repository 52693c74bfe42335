// The valence gauge: estimate, its 95 % interval, what each modality contributed, and the last half minute.

import { Strip, window } from "./charts.js";
import { colour, element, number, setText } from "./format.js";

const SECONDS = 30;
const INTERVAL = 1.96;
const SHARES = [
  ["share_camera", "camera", "share-1"],
  ["share_emg", "EMG", "share-2"],
  ["share_thermal", "thermal", "share-3"],
];

export class ValencePanel {
  constructor() {
    this.host = document.getElementById("valence");
    const figures = element("div", "figures");
    this.value = element("output", "huge", "–");
    this.error = element("output", "muted", "");
    this.arousal = element("output", "muted", "");
    figures.append(this.value, this.error, this.arousal);
    const gauge = element("div", "gauge");
    gauge.setAttribute("role", "img");
    gauge.setAttribute("aria-label", "Valence from negative to positive");
    this.gauge = gauge;
    this.interval = element("span", "interval");
    this.needle = element("span", "needle");
    gauge.append(element("span", "zero"), this.interval, this.needle);
    const scale = element("div", "scale-words");
    scale.append(element("span", "", "−1 negative"), element("span", "", "0"), element("span", "", "positive +1"));
    const shares = element("div", "shares");
    const split = element("div", "split");
    const wording = element("div", "share-words");
    shares.append(split, wording);
    this.shares = SHARES.map(([label, name, token]) => {
      const part = element("span", `share ${token}`);
      const words = element("span", token);
      split.append(part);
      wording.append(words);
      return { label, name, part, words };
    });
    const plot = element("div", "plot");
    this.host.append(figures, gauge, scale, shares, plot);
    this.chart = new Strip(
      plot,
      [
        { label: "upper", colour: "interval", width: 0 },
        { label: "lower", colour: "interval", width: 0 },
        { label: "valence", colour: "accent", width: 1.8 },
      ],
      {
        seconds: SECONDS,
        xAxis: false,
        axisSize: 26,
        range: () => [-1.2, 1.2],
        values: (u, splits) => splits.map((split) => (Math.abs(split) === 1 || split === 0 ? number(split, 0, split !== 0) : "")),
        bands: [{ series: [1, 2], fill: () => colour("interval") }],
      },
    );
  }

  draw(store, time) {
    const series = store.series.get("Valence");
    if (!series) return;
    const value = series.at("valence", time);
    const error = INTERVAL * series.at("standard_error", time);
    setText(this.value, number(value, 2, true));
    setText(this.error, `± ${number(error, 2)}`);
    setText(this.arousal, `arousal ${number(series.at("arousal", time), 2, true)}`);
    const known = Number.isFinite(value);
    this.gauge.classList.toggle("unknown", !known);
    if (known) {
      const place = (position) => 50 * (Math.min(Math.max(position, -1), 1) + 1);
      const [low, high] = [place(value - error), place(value + error)];
      this.needle.style.left = `${place(value)}%`;
      this.interval.style.left = `${low}%`;
      this.interval.style.width = `${high - low}%`;
      this.gauge.setAttribute("aria-label", `Valence ${number(value, 2, true)}, plus or minus ${number(error, 2)}`);
    }
    for (const { label, name, part, words } of this.shares) {
      const share = series.at(label, time);
      part.hidden = words.hidden = !series.column.has(label);
      part.style.flexGrow = String(Math.round((share || 0) * 1000));
      setText(words, `${name} ${number(100 * share, 0)} %`);
    }
    if (this.chart.host.clientHeight > 20) this.trend(series, time);
  }

  trend(series, time) {
    const columns = ["valence", "standard_error"].map((label) => series.column.get(label));
    const [times, values, errors] = window(series, columns, time, SECONDS, 300);
    const limit = (sign) => values.map((value, at) => (value === null ? null : Math.min(Math.max(value + sign * INTERVAL * (errors[at] ?? 0), -1), 1)));
    this.chart.draw([times, limit(1), limit(-1), values]);
  }
}
