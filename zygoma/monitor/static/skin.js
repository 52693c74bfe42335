// The thermal picture in false colour with its regions and scale, and how each region's temperature changes.

import { Strip, mark, window } from "./charts.js";
import { element, number, setText } from "./format.js";
import { newestAt } from "./store.js";

const SECONDS = 60;
const NO_TEMPERATURE = -32768;
const SHOWN = [
  ["nose_tip", "nose tip", "trend-1"],
  ["glabella", "glabella", "trend-2"],
  ["cheek_left", "cheek left", "trend-3"],
  ["cheek_right", "cheek right", "trend-4"],
  ["forehead", "forehead", "trend-5"],
];
const SMALLEST_SPAN = 0.2;
const SAMPLED = 7; // Every seventh pixel tells the range of temperatures well enough.

// Anchors of the "inferno" colour map (matplotlib, CC0): even in brightness, readable without colour vision.
const INFERNO = [
  [0, 0, 4], [22, 11, 57], [66, 10, 104], [106, 23, 110], [147, 38, 103], [188, 55, 84],
  [221, 81, 58], [243, 120, 25], [252, 165, 10], [246, 215, 70], [252, 255, 164],
];
// As little-endian RGBA words, which is how a picture's pixels lie in memory.
const PALETTE = Uint32Array.from({ length: 256 }, (_, level) => {
  const at = (level / 255) * (INFERNO.length - 1);
  const low = Math.min(Math.floor(at), INFERNO.length - 2);
  const [red, green, blue] = INFERNO[low].map((value, channel) =>
    Math.round(value + (at - low) * (INFERNO[low + 1][channel] - value)),
  );
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
});

export class SkinPanel {
  constructor() {
    this.host = document.getElementById("skin");
    this.small = document.createElement("canvas");
    this.range = null;
    this.drawn = null;
    this.closed = [];
  }

  build() {
    this.host.replaceChildren();
    const picture = element("figure", "thermal");
    this.canvas = element("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Thermal picture with the skin regions");
    const scale = element("figcaption", "scale");
    this.low = element("output", "", "–");
    this.high = element("output", "", "–");
    scale.append(this.low, element("span", "ramp"), this.high);
    picture.append(this.canvas, scale);
    const right = element("div", "trends");
    const plot = element("div", "plot");
    const legend = element("ul", "legend");
    this.values = SHOWN.map(([region, name, token]) => {
      const item = element("li", token);
      const readout = element("span");
      const value = element("output", "", "–");
      const delta = element("output", "delta");
      readout.append(value, delta);
      item.append(element("span", "key"), element("span", "", name), readout);
      legend.append(item);
      return [region, value, delta];
    });
    right.append(plot, legend);
    this.host.append(picture, right);
    this.chart = new Strip(plot, SHOWN.map(([, label, token]) => ({ label, colour: token, width: 1.8 })), {
      seconds: SECONDS,
      xAxis: true,
      axisSize: 38,
      range: (low, high) => {
        if (low === null) return [-SMALLEST_SPAN, SMALLEST_SPAN];
        const room = Math.max(high - low, SMALLEST_SPAN);
        const middle = (low + high) / 2;
        return [middle - room * 0.6, middle + room * 0.6];
      },
      values: (u, splits) => splits.map((split) => number(split, 2, true)),
      behind: (chart) => this.closed.forEach((at) => mark(chart, at, "FFC", "muted")),
    });
  }

  draw(store, time) {
    const skin = store.series.get("SkinTemperature");
    if (!skin && !store.thermal.length) return;
    if (!this.canvas) this.build();
    const picture = newestAt(store.thermal, time);
    if (picture && picture !== this.drawn) this.paint(picture);
    if (!skin) return;
    for (const [region, value, delta] of this.values) {
      setText(value, `${number(skin.at(`${region}_celsius`, time), 1)} °C`);
      setText(delta, ` ${number(skin.at(`${region}_delta_celsius`, time), 2, true)}`);
    }
    this.trend(skin, time);
  }

  trend(skin, time) {
    const columns = SHOWN.map(([region]) => skin.column.get(`${region}_delta_celsius`));
    const ffc = skin.column.get("ffc");
    this.closed = [];
    for (let row = Math.max(skin.until(time - SECONDS), 1); row < skin.until(time); row += 1) {
      if (skin.value(row, ffc) > 0 && !(skin.value(row - 1, ffc) > 0)) this.closed.push(skin.stamps[row] - time);
    }
    this.chart.draw(window(skin, columns, time, SECONDS));
  }

  paint(picture) {
    const { pixels, width, height, regions } = picture;
    this.drawn = picture;
    const known = pixels.filter((value, index) => index % SAMPLED === 0 && value !== NO_TEMPERATURE).sort();
    if (!known.length) return;
    const low = known[Math.floor(known.length * 0.02)];
    const high = Math.max(known[Math.floor(known.length * 0.995)], low + 50);
    // The scale follows slowly: the same colour is the same temperature from one picture to the next.
    this.range = this.range ? [0, 1].map((at) => this.range[at] + 0.1 * ([low, high][at] - this.range[at])) : [low, high];
    const [from, to] = this.range;
    const image = new ImageData(width, height);
    const colours = new Uint32Array(image.data.buffer);
    const gain = 255 / (to - from);
    for (let index = 0; index < pixels.length; index += 1) {
      const level = Math.round(gain * (pixels[index] - from));
      colours[index] = pixels[index] === NO_TEMPERATURE ? 0 : PALETTE[level < 0 ? 0 : level > 255 ? 255 : level];
    }
    this.small.width = width;
    this.small.height = height;
    this.small.getContext("2d").putImageData(image, 0, 0);
    const zoom = 3;
    this.canvas.width = width * zoom;
    this.canvas.height = height * zoom;
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(this.small, 0, 0, width * zoom, height * zoom);
    context.lineWidth = 1.6;
    context.strokeStyle = "#ffffff";
    for (const corners of Object.values(regions)) {
      context.beginPath();
      for (let at = 0; at < corners.length; at += 2) context.lineTo((corners[at] + 0.5) * zoom, (corners[at + 1] + 0.5) * zoom);
      context.closePath();
      context.stroke();
    }
    setText(this.low, `${number(from / 100, 1)}`);
    setText(this.high, `${number(to / 100, 1)} °C`);
  }
}
