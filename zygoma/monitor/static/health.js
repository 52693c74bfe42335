// Traffic lights, the table of streams, the recording and the top bar.

import { bytes, clock, element, number, setText, SHAPES, span } from "./format.js";

const WORDS = { good: "good", doubtful: "doubtful", bad: "bad", off: "not known" };
const BANNERS = { simulated: "Simulated", replay: "Replay" };
const KINDS = ["Camera", "EMG", "Thermal", "Markers", "GroundTruth"];
const NOTICE_S = 8;
const LATE_MS = 250;
const ADVICE_LINES = 2;

export class HealthPanel {
  constructor() {
    this.lights = document.getElementById("lights");
    this.advice = document.getElementById("advice");
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
      const { displayed } = status;
      setText(latency, displayed ? `${number(displayed.p50_ms)} ms` : "–");
      latency.title = displayed ? `95 % of pictures within ${number(displayed.p95_ms)} ms` : "";
      latency.classList.toggle("late", Boolean(displayed) && displayed.p95_ms > LATE_MS);
    }
    this.recording(status.recording);
    this.incidents(status);
    if (this.told !== null && performance.now() - this.told > NOTICE_S * 1000) this.tell("");
  }

  /** The newest incident stays to be read; on the second display it is a notice of some seconds. */
  incidents({ incidents, now, started }) {
    const newest = incidents.at(-1);
    const host = document.getElementById("incident");
    if (!newest) return;
    if (!host) {
      if (now - newest.time < NOTICE_S) this.tell(newest.sentence);
      return;
    }
    const line = ({ time, sentence }) => `${clock(time - started)}  ${sentence}`;
    setText(host, line(newest));
    host.classList.toggle("fresh", now - newest.time < NOTICE_S);
    host.title = incidents.map(line).join("\n");
  }

  /** A sentence of the page's own, for some seconds. */
  tell(sentence) {
    this.told = sentence ? performance.now() : null;
    const notice = document.getElementById("notice");
    setText(notice, sentence);
    notice.title = sentence;
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
    lights.forEach((light, at) => {
      let part = this.parts.get(light.id);
      if (!part) {
        part = { root: element("li"), mark: element("span", "mark"), name: element("span", "name"), value: element("span", "value") };
        part.mark.setAttribute("role", "img");
        part.root.append(part.mark, part.name, part.value);
        this.parts.set(light.id, part);
      }
      // In the engine's order, whichever came first.
      if (this.lights.children[at] !== part.root) this.lights.insertBefore(part.root, this.lights.children[at] ?? null);
      part.root.dataset.light = light.light;
      setText(part.mark, SHAPES[light.light]);
      part.mark.setAttribute("aria-label", WORDS[light.light]);
      setText(part.name, light.name);
      setText(part.value, light.value);
      part.root.title = light.light === "good" ? light.name : light.words;
    });
    this.advise(lights.filter(({ light, words }) => light !== "good" && words));
  }

  /** What to do, once for all lights that ask for the same. */
  advise(lights) {
    const names = new Map();
    for (const { name, words } of lights) names.set(words, [...(names.get(words) ?? []), name]);
    const lines = [...names].slice(0, ADVICE_LINES).map(([words, named]) => `${named.join(", ")}: ${words}`);
    setText(this.advice, lines.join("\n"));
  }

  showStreams(streams) {
    const order = [...streams].sort((one, other) => KINDS.indexOf(one.kind) - KINDS.indexOf(other.kind));
    order.forEach((stream, at) => {
      const key = `${stream.kind} ${stream.name}`;
      let cells = this.rows.get(key);
      if (!cells) {
        const row = element("tr");
        cells = [element("th"), ...Array.from({ length: 5 }, () => element("td"))];
        cells[0].scope = "row";
        row.append(...cells);
        row.title = stream.name;
        this.rows.set(key, cells);
      }
      const row = cells[0].parentElement;
      if (this.streams.children[at] !== row) this.streams.insertBefore(row, this.streams.children[at] ?? null);
      const nominal = stream.nominal_hz ? ` (${number(stream.nominal_hz)})` : "";
      const texts = [
        `${SHAPES[stream.light]} ${stream.kind}`,
        `${number(stream.effective_hz ?? NaN, 1)}${nominal}`,
        `${stream.gaps}`,
        `${stream.lost}`,
        `${number(stream.clock_offset_ms ?? NaN, 1)} ms`,
        stream.age_s === null ? "–" : `${number(stream.age_s, 1)} s`,
      ];
      texts.forEach((text, column) => setText(cells[column], text));
      cells[0].dataset.light = stream.light;
    });
  }
}
