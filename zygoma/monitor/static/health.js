// Traffic lights, the table of streams, the recording and the top bar.

import { bytes, clock, element, number, setText, span } from "./format.js";

const SHAPES = { good: "●", doubtful: "▲", bad: "■", off: "○" };
const WORDS = { good: "good", doubtful: "doubtful", bad: "bad", off: "not known" };
const BANNERS = { simulated: "Simulated", replay: "Replay" };
const NOTICE_S = 8;

export class HealthPanel {
  constructor() {
    this.lights = document.getElementById("lights");
    this.streams = document.getElementById("streams");
    this.parts = new Map();
    this.rows = new Map();
    this.told = null;
  }

  update(status) {
    this.top(status);
    if (this.lights) this.showLights(status.lights);
    if (this.streams) this.showStreams(status.streams);
  }

  top(status) {
    const banner = document.getElementById("banner");
    banner.hidden = !status.origins.length;
    setText(banner, status.origins.map((origin) => BANNERS[origin] ?? origin).join(" + "));
    const session = document.getElementById("session-link");
    if (session) session.hidden = !status.session;
    setText(document.getElementById("session-clock"), clock(status.now - status.started));
    const latency = document.getElementById("display-latency");
    if (latency) {
      setText(latency, status.displayed ? `${number(status.displayed.p50_ms)} ms` : "–");
      latency.title = status.displayed ? `95 % of pictures within ${number(status.displayed.p95_ms)} ms` : "";
    }
    this.recording(status.recording);
    const newest = status.incidents.at(-1);
    const notice = document.getElementById("notice");
    if (newest && status.now - newest.time < NOTICE_S) setText(notice, newest.sentence);
    else if (this.told && performance.now() - this.told < NOTICE_S * 1000) return;
    else setText(notice, "");
  }

  /** One sentence of the page's own in the top bar. */
  tell(sentence) {
    this.told = performance.now();
    setText(document.getElementById("notice"), sentence);
  }

  recording(recording) {
    const host = document.getElementById("recording");
    const output = host.querySelector("output");
    host.classList.toggle("on", Boolean(recording) && !recording.stopped);
    host.classList.toggle("warning", Boolean(recording && (recording.warning || recording.stopped)));
    if (!recording) setText(output, "off");
    else if (recording.stopped) {
      setText(output, "stopped");
      this.tell(recording.stopped);
    } else {
      const left = recording.seconds_left === null ? "" : ` · ${span(recording.seconds_left)} left`;
      const room = recording.warning ? ` · only ${bytes(recording.free_bytes)} free` : "";
      setText(output, `● ${clock(recording.seconds)} · ${bytes(recording.bytes)}${left}${room}`);
      host.title = `${recording.file}: ${bytes(recording.free_bytes)} free on the disk`;
    }
  }

  showLights(lights) {
    for (const light of lights) {
      let part = this.parts.get(light.id);
      if (!part) {
        part = { root: element("li"), mark: element("span", "mark"), name: element("span", "name"), value: element("span", "value") };
        part.mark.setAttribute("role", "img");
        part.root.append(part.mark, part.name, part.value);
        this.lights.append(part.root);
        this.parts.set(light.id, part);
      }
      part.root.dataset.light = light.light;
      setText(part.mark, SHAPES[light.light]);
      part.mark.setAttribute("aria-label", WORDS[light.light]);
      setText(part.name, light.name);
      setText(part.value, light.value);
      part.root.title = light.light === "good" ? light.name : light.words;
    }
  }

  showStreams(streams) {
    for (const stream of streams) {
      const key = `${stream.kind} ${stream.name}`;
      let cells = this.rows.get(key);
      if (!cells) {
        const row = element("tr");
        cells = [element("th"), ...Array.from({ length: 5 }, () => element("td"))];
        cells[0].scope = "row";
        row.append(...cells);
        row.title = stream.name;
        this.streams.append(row);
        this.rows.set(key, cells);
      }
      const nominal = stream.nominal_hz ? ` (${number(stream.nominal_hz)})` : "";
      const texts = [
        `${SHAPES[stream.light]} ${stream.kind}`,
        `${number(stream.effective_hz ?? NaN, 1)}${nominal}`,
        `${stream.gaps}`,
        `${stream.lost}`,
        `${number(stream.clock_offset_ms ?? NaN, 1)} ms`,
        stream.age_s === null ? "–" : `${number(stream.age_s, 1)} s`,
      ];
      texts.forEach((text, at) => setText(cells[at], text));
      cells[0].dataset.light = stream.light;
    }
  }
}
