// The last minute as lanes: what was flagged, blinks, stimuli and the operator's notes; and notes to be made.

import { post } from "./link.js";
import { colour, element } from "./format.js";
import { KEPT_S } from "./store.js";

export const QUICK_NOTES = ["start", "stop", "talks", "moves", "artefact", "laughs"];
const LANES = [
  ["micro", "micro"],
  ["macro", "macro"],
  ["blink", "blink"],
  ["stimulus", "stimulus"],
  ["operator", "notes"],
];
const SCRIPT_LANE = ["script", "script"];
const LABEL_PX = 58;

export class MarkersPanel {
  /** `onProblem(sentence)` tells what went wrong. */
  constructor(store, onProblem) {
    this.store = store;
    this.onProblem = onProblem;
    this.canvas = document.getElementById("lanes");
    this.input = document.getElementById("note");
    document.getElementById("note-form").addEventListener("submit", (submit) => {
      submit.preventDefault();
      const text = this.input.value.trim();
      if (text) this.note(text);
      this.input.value = "";
      this.input.blur();
    });
    const quick = document.getElementById("quick");
    QUICK_NOTES.forEach((text, at) => {
      const button = element("button", "", `${text} `);
      button.type = "button";
      button.append(element("kbd", "", String(at + 1)));
      button.addEventListener("click", () => this.note(text));
      quick.append(button);
    });
  }

  async note(text) {
    try {
      await post("/api/markers", { text });
    } catch (problem) {
      this.onProblem(problem.message);
    }
  }

  /** Draw the minute before `now`, with a line at `cursor`. */
  draw(now, cursor) {
    const box = this.canvas.parentElement;
    const ratio = Math.min(devicePixelRatio, 2);
    const [width, height] = [box.clientWidth, box.clientHeight];
    if (!width || !height) return;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const script = this.store.markers.some((marker) => marker.lane === "script");
    const lanes = script ? [...LANES, SCRIPT_LANE] : LANES;
    const tall = height / lanes.length;
    const x = (time) => LABEL_PX + ((time - now) / KEPT_S + 1) * (width - LABEL_PX);
    lanes.forEach(([, name], at) => {
      context.fillStyle = colour("muted");
      context.fillText(name, 0, tall * (at + 0.5));
      context.fillStyle = colour("grid");
      context.fillRect(LABEL_PX, Math.round(tall * (at + 1)) - 1, width - LABEL_PX, 1);
    });
    context.save();
    context.beginPath();
    context.rect(LABEL_PX, 0, width - LABEL_PX, height);
    context.clip();
    this.events(context, lanes, tall, x, now);
    this.notes(context, lanes, tall, x, now);
    context.restore();
    context.fillStyle = colour("accent");
    context.fillRect(Math.min(x(cursor), width - 2), 0, 2, height);
  }

  events(context, lanes, tall, x, now) {
    for (const event of this.store.events) {
      if (event.onset + event.duration < now - KEPT_S) continue;
      const lane = lanes.findIndex(([key]) => event.trial_type.startsWith(key));
      if (lane < 0) continue;
      context.fillStyle = colour(event.trial_type === "micro_expression" ? "accent" : "muted");
      const width = Math.max(x(event.onset + event.duration) - x(event.onset), 3);
      context.fillRect(x(event.onset), tall * lane + 2, width, tall - 5);
    }
  }

  notes(context, lanes, tall, x, now) {
    const room = new Map();
    for (const marker of this.store.markers.toReversed()) {
      if (marker.time < now - KEPT_S) continue;
      const lane = lanes.findIndex(([key]) => key === marker.lane);
      if (lane < 0) continue;
      const at = x(marker.time);
      context.fillStyle = colour(marker.lane === "operator" ? "accent" : "text");
      context.fillRect(at, tall * lane + 1, 2, tall - 3);
      const text = marker.lane === "script" ? scripted(marker.text) : marker.text.slice(0, 40);
      // A word is left out rather than written over the next mark.
      if (at + 8 + context.measureText(text).width < (room.get(lane) ?? Infinity)) {
        context.fillText(text, at + 5, tall * (lane + 0.5));
      }
      room.set(lane, at);
    }
  }
}

/** What a line of the simulated person's script says. */
function scripted(text) {
  try {
    const event = JSON.parse(text);
    return [event.trial_type?.replace("_expression", ""), event.action_units].filter(Boolean).join(" ");
  } catch {
    return text.slice(0, 40);
  }
}
