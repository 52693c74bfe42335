// The live picture with landmarks and active muscles, bars for the action units, head pose and blink.

import { colour, element, number, setText, SHAPES } from "./format.js";
import { newestAt } from "./store.js";

const ACTIVE = 0.2;
const BLINK = 0.5;
const PULL_GAIN = 3.5;
const TAGS = 3;
const STALE_S = 1.5;

// Outlines on MediaPipe's 478-point face mesh.
const CLOSED = [
  [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
  [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
  [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185],
  [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191],
];
const OPEN = [
  [70, 63, 105, 66, 107],
  [300, 293, 334, 296, 336],
  [168, 6, 197, 195, 5, 4],
];
const OUTER_EYE_CORNERS = [33, 263];

export class FacePanel {
  constructor(anatomy) {
    this.anatomy = anatomy;
    this.canvas = document.getElementById("picture");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.landmarks = true;
    this.bitmap = null;
    this.decoding = false;
    this.waiting = null;
    this.bars = new Map();
    this.doubts = document.getElementById("doubts");
    this.told = "";
    this.buildBars();
    new ResizeObserver(() => this.redraw()).observe(this.canvas.parentElement);
  }

  buildBars() {
    const host = document.getElementById("units");
    if (!host) return;
    for (const unit of this.anatomy.units) {
      const row = element("div", "unit");
      row.setAttribute("role", "img");
      row.title = `AU${unit.number} ${unit.name}`;
      const right = element("span", "bar right");
      const left = element("span", "bar left");
      const value = element("span", "value", "–");
      const level = element("b", "level");
      right.append(element("i"));
      left.append(element("i"));
      const name = element("span", "name");
      name.append(element("b", "", `AU${unit.number}`), element("span", "", unit.name));
      row.append(name, right, left, value, level);
      host.append(row);
      this.bars.set(unit.number, { row, unit, right: right.firstChild, left: left.firstChild, value, level });
    }
  }

  /** Decode `picture` and draw it with the measurements of its moment; `done` is called when it is on screen. */
  show(picture, series, done = () => {}) {
    if (this.decoding) {
      // Newest wins: what waited is reported as done without having been drawn.
      this.waiting?.[2]();
      this.waiting = [picture, series, done];
      return;
    }
    this.decoding = true;
    createImageBitmap(new Blob([picture.jpeg], { type: "image/jpeg" }))
      .then((bitmap) => {
        this.bitmap?.close();
        this.bitmap = bitmap;
        document.getElementById("no-camera").hidden = true;
        this.picture = picture;
        this.series = series;
        this.redraw();
      })
      .catch(() => {})
      .finally(() => {
        this.decoding = false;
        done();
        if (this.waiting) {
          const next = this.waiting;
          this.waiting = null;
          this.show(...next);
        }
      });
  }

  redraw() {
    const { canvas, context, bitmap } = this;
    const box = canvas.parentElement;
    const ratio = Math.min(devicePixelRatio, 2);
    const width = Math.round(box.clientWidth * ratio);
    const height = Math.round(box.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (!bitmap || !width || !height) return;
    // Fills the panel; what is cut off is background at the edges, never the face.
    const scale = Math.max(width / bitmap.width, height / bitmap.height);
    const centre = this.centre(bitmap, scale, width, height);
    context.setTransform(scale, 0, 0, scale, centre.x, centre.y);
    context.drawImage(bitmap, 0, 0);
    const { points } = this.picture;
    if (points && this.landmarks) {
      this.outline(points, scale);
      this.pulls(points, scale);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  centre(bitmap, scale, width, height) {
    const { points } = this.picture;
    const middle = points ? [points[2 * 4], points[2 * 4 + 1]] : [bitmap.width / 2, bitmap.height / 2];
    const hold = (value, room) => Math.min(0, Math.max(room, value));
    return {
      x: hold(width / 2 - middle[0] * scale, width - bitmap.width * scale),
      y: hold(height / 2 - middle[1] * scale, height - bitmap.height * scale),
    };
  }

  outline(points, scale) {
    const { context } = this;
    context.lineWidth = 1.2 / scale;
    context.strokeStyle = "rgba(255, 255, 255, 0.75)";
    context.beginPath();
    const trace = (line) => line.forEach((index, at) => context[at ? "lineTo" : "moveTo"](points[2 * index], points[2 * index + 1]));
    for (const line of CLOSED) {
      trace(line);
      context.closePath();
    }
    OPEN.forEach(trace);
    context.stroke();
    const dot = 1.3 / scale;
    context.fillStyle = "rgba(255, 255, 255, 0.42)";
    for (let index = 0; index < 468; index += 1) {
      context.fillRect(points[2 * index] - dot / 2, points[2 * index + 1] - dot / 2, dot, dot);
    }
  }

  /** Arrows where an active muscle pulls the skin, as long as it pulls, enlarged. */
  pulls(points, scale) {
    const { context, series, picture } = this;
    if (!series) return;
    const [right, left] = OUTER_EYE_CORNERS.map((index) => [points[2 * index], points[2 * index + 1]]);
    const across = [left[0] - right[0], left[1] - right[1]];
    const eyes = Math.hypot(...across) || 1;
    const unit = [across[0] / eyes, across[1] / eyes];
    for (const muscle of this.anatomy.muscles) {
      ["right", "left"].forEach((side, at) => {
        const strength = intensity(series, muscle.unit, side, picture.stamp);
        if (!(strength >= ACTIVE)) return;
        const sign = at ? 1 : -1;
        for (const pull of muscle.pulls) {
          const anchor = pull.anchors[at];
          const outward = pull.outward * sign;
          const reach = PULL_GAIN * eyes * strength * 0.7;
          const move = [outward * unit[0] + pull.up * unit[1], outward * unit[1] - pull.up * unit[0]];
          this.arrow(points[2 * anchor], points[2 * anchor + 1], move[0] * reach, move[1] * reach, strength, scale);
        }
      });
    }
  }

  arrow(x, y, dx, dy, strength, scale) {
    const { context } = this;
    const size = Math.hypot(dx, dy);
    if (size * scale < 4) return;
    context.strokeStyle = context.fillStyle = colour("muscle");
    context.globalAlpha = Math.min(0.45 + strength / 2, 1);
    context.lineWidth = 2.6 / scale;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + dx, y + dy);
    context.stroke();
    const head = 7 / scale;
    const angle = Math.atan2(dy, dx);
    context.beginPath();
    context.moveTo(x + dx + Math.cos(angle) * head, y + dy + Math.sin(angle) * head);
    context.lineTo(x + dx + Math.cos(angle + 2.3) * head, y + dy + Math.sin(angle + 2.3) * head);
    context.lineTo(x + dx + Math.cos(angle - 2.3) * head, y + dy + Math.sin(angle - 2.3) * head);
    context.fill();
    context.globalAlpha = 1;
  }

  /** Bars, pose, blink and doubts of the picture that is shown; `now` is the moment it should be of. */
  draw(store, now) {
    const series = store.series.get("ActionUnits");
    if (!this.picture) return;
    const time = this.picture.stamp;
    this.tellDoubts(series ? series.at("flags", time) : NaN, now - time);
    if (!series) return;
    for (const { row, unit, right, left, value, level } of this.bars.values()) {
      const strengths = [intensity(series, unit.number, "right", time), intensity(series, unit.number, "left", time)];
      const both = series.at(`AU${unit.number}`, time);
      [right, left].forEach((bar, at) => {
        const strength = Number.isFinite(strengths[at]) ? Math.min(Math.max(strengths[at], 0), 1) : 0;
        bar.style.transform = `scaleX(${strength.toFixed(3)})`;
      });
      row.classList.toggle("active", both >= ACTIVE);
      setText(value, number(both, 2));
      setText(level, this.level(both));
      row.setAttribute("aria-label", `AU${unit.number} ${unit.name} ${number(both, 2)} ${this.level(both)}`);
    }
    const degrees = ["pitch", "yaw", "roll"].map((angle) => `${angle} ${number(series.at(`${angle}_deg`, time), 0, true)}°`);
    const lids = Math.max(series.at("blink_left", time), series.at("blink_right", time));
    const found = series.at("face", time) > 0;
    setText(document.getElementById("pose"), found ? `${degrees.join("  ")}${lids > BLINK ? "  blink" : ""}` : "no face");
    this.tags(series, time);
  }

  /** FACS letter of an intensity; empty where the action unit is absent. */
  level(intensity) {
    return this.anatomy.levels.findLast((level) => intensity >= level.from)?.letter ?? "";
  }

  /** What speaks against the picture, in words that an operator can act on. */
  tellDoubts(flags, age) {
    const doubts = Number.isFinite(flags) ? this.anatomy.flags.filter(({ bit }) => flags & bit) : [];
    if (age > STALE_S) doubts.unshift({ light: "bad", name: `picture ${number(age)} s old`, advice: "check the camera, close other programs" });
    const key = doubts.map(({ name }) => name).join();
    if (key === this.told) return;
    this.told = key;
    this.doubts.replaceChildren(
      ...doubts.map(({ light, name, advice }) => {
        const item = element("p");
        item.dataset.light = light;
        const mark = element("span", "mark", SHAPES[light]);
        mark.setAttribute("aria-hidden", "true");
        item.append(mark, element("b", "", name), element("span", "advice", `: ${advice}`));
        return item;
      }),
    );
  }

  tags(series, time) {
    const active = this.anatomy.units
      .map((unit) => ({ ...unit, value: series.at(`AU${unit.number}`, time) }))
      .filter((unit) => unit.value >= ACTIVE)
      .sort((one, other) => other.value - one.value)
      .slice(0, TAGS);
    const muscle = (unit) => this.anatomy.muscles.find((known) => known.unit === unit)?.name.split(",")[0];
    setText(
      document.getElementById("active"),
      active.map((unit) => `AU${unit.number} ${muscle(unit.number) ?? unit.name}`).join("\n"),
    );
  }

  /** Draw the picture of a moment that has passed. */
  showAt(store, time) {
    const picture = newestAt(store.pictures, time);
    if (picture && picture !== this.picture) this.show(picture, store.series.get("ActionUnits"));
  }
}

function intensity(series, unit, side, time) {
  const own = series.at(`AU${unit}_${side}`, time);
  return Number.isFinite(own) ? own : series.at(`AU${unit}`, time);
}
