// The list of flagged expressions: pictures, evidence, explanation; confirm, reject or annotate by key.

import { post } from "./link.js";
import { element, number, percent, setText } from "./format.js";

const MOMENTS = ["onset", "apex", "offset"];
const EVIDENCE = [["camera", "evidence_camera"], ["EMG", "evidence_emg"], ["thermal", "evidence_thermal"]];
const EVIDENCE_FULL = 8;
const JUST_CAME_MS = 600; // A verdict within this was meant for the candidate before.

export class CandidatesPanel {
  /** `onSeek(time)` shows a moment, `onProblem(sentence)` tells what went wrong. */
  constructor(store, onSeek, onProblem) {
    this.store = store;
    this.onSeek = onSeek;
    this.onProblem = onProblem;
    this.host = document.getElementById("candidates");
    this.count = document.getElementById("candidate-count");
    this.items = new Map();
    this.selected = null;
    this.follows = true;
    this.cameAt = -Infinity;
    this.empty = element("li", "empty", "Nothing flagged yet. Expressions appear here as they are confirmed.");
    this.host.replaceChildren(this.empty);
  }

  /** What there is now, whatever was there before: another run may have begun behind the same address. */
  setAll(events) {
    const there = new Set(events.map(({ id }) => id));
    for (const [id, { root }] of this.items) {
      if (there.has(id)) continue;
      root.remove();
      this.items.delete(id);
    }
    if (!this.items.has(this.selected)) this.selected = null;
    for (const event of events) this.put(event);
    if (!this.items.size) this.host.replaceChildren(this.empty);
    this.countAll();
  }

  /** Add an event, or bring the one there is up to date. */
  put(event) {
    const known = this.items.get(event.id);
    if (known) {
      known.event = event;
      this.describe(known);
      return;
    }
    this.empty.remove();
    const item = this.build(event);
    this.items.set(event.id, item);
    this.host.prepend(item.root);
    this.describe(item);
    // The newest is chosen until the operator has chosen another one.
    if (this.follows) {
      this.select(event.id);
      this.cameAt = performance.now();
    }
    this.countAll();
  }

  build(event) {
    const root = element("li", "candidate");
    const micro = event.trial_type === "micro_expression";
    root.classList.toggle("micro", micro);
    const pictures = element("div", "thumbnails");
    const images = new Map();
    for (const moment of MOMENTS) {
      const figure = element("figure");
      const image = element("img");
      image.alt = `Face at ${moment}`;
      image.width = image.height = 48;
      images.set(moment, image);
      figure.append(image, element("figcaption", "", moment));
      pictures.append(figure);
    }
    const words = element("div", "words");
    const heading = element("p", "heading");
    const units = event.action_units ? `AU${event.action_units}` : "no AU";
    heading.append(
      element("span", "kind", micro ? "Micro" : "Macro"),
      element("strong", "", units),
      element("span", "side-word", event.side === "both" ? "" : event.side),
    );
    const verdict = element("span", "verdict");
    heading.append(verdict);
    const facts = element("p", "facts");
    setText(
      facts,
      [`${number(1000 * event.duration)} ms`, event.category, `${percent(event.confidence)} sure`].join(" · "),
    );
    const muscles = element("p", "facts", event.muscles.join(", "));
    words.append(heading, facts, muscles);
    const detail = element("div", "detail");
    const explanation = element("p", "explanation", event.explanation);
    const note = element("p", "noted");
    const actions = element("div", "actions");
    const buttons = {
      confirmed: this.button("Confirm", "C", () => this.decide("confirmed")),
      rejected: this.button("Reject", "X", () => this.decide("rejected")),
    };
    actions.append(buttons.confirmed, buttons.rejected, this.button("Note", "N", () => this.annotate()), this.button("Show", "↵", () => this.seek()));
    // The buttons first: on a small screen the explanation may have to be scrolled to.
    detail.append(actions, explanation, note);
    root.append(pictures, words, this.evidence(event), detail);
    root.addEventListener("click", () => this.choose(event.id));
    return { root, event, pictures, images, verdict, note, detail, buttons };
  }

  evidence(event) {
    const host = element("div", "evidence");
    for (const [name, key] of EVIDENCE) {
      const value = event[key];
      const part = element("span", "source");
      part.title = `log-likelihood ratio of the ${name}`;
      const bar = element("span", "meter");
      const fill = element("i", value < 0 ? "against" : "");
      fill.style.transform = `scaleX(${Math.min(Math.abs(value) / EVIDENCE_FULL, 1)})`;
      bar.append(fill);
      part.append(element("span", "", name), bar, element("span", "value", value === 0 ? "–" : number(value, 1, true)));
      host.append(part);
    }
    return host;
  }

  button(word, key, work) {
    const made = element("button", "", `${word} `);
    made.type = "button";
    made.append(element("kbd", "", key));
    made.addEventListener("click", (click) => {
      click.stopPropagation();
      this.choose(made.closest("li").dataset.id);
      work();
    });
    return made;
  }

  describe({ root, event, pictures, images, verdict, note, buttons }) {
    root.dataset.id = event.id;
    // Without a camera there is nothing to wait for.
    pictures.hidden = !event.thumbnails.length && !this.store.pictures.length;
    for (const moment of event.thumbnails) {
      const image = images.get(moment);
      if (!image.src) image.src = `/api/candidates/${encodeURIComponent(event.id)}/${moment}.jpg`;
    }
    root.dataset.verdict = event.verdict;
    setText(verdict, event.verdict === "open" ? "" : event.verdict === "confirmed" ? "✓ confirmed" : "✕ rejected");
    setText(note, event.note ? `Note: ${event.note}` : "");
    for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(event.verdict === name));
  }

  countAll() {
    const micro = [...this.items.values()].filter(({ event }) => event.trial_type === "micro_expression").length;
    setText(this.count, `${micro} micro · ${this.items.size - micro} macro`);
  }

  select(identity) {
    if (this.selected === identity) return;
    this.items.get(this.selected)?.root.removeAttribute("aria-current");
    this.selected = identity;
    const item = this.items.get(identity);
    item?.root.setAttribute("aria-current", "true");
  }

  /** Select on the operator's wish: new ones then no longer take the selection. */
  choose(identity) {
    this.select(identity);
    this.follows = false;
  }

  /** Choose the next (1, older) or previous (-1, newer) candidate. */
  move(step) {
    const order = [...this.host.children].map((child) => child.dataset.id).filter(Boolean);
    if (!order.length) return;
    const at = Math.min(Math.max(order.indexOf(this.selected) + step, 0), order.length - 1);
    this.choose(order[at]);
    // Going up to the newest follows the newest again.
    this.follows = at === 0 && step < 0;
    this.items.get(order[at]).root.scrollIntoView({ block: "nearest" });
  }

  current() {
    return this.items.get(this.selected)?.event;
  }

  async decide(verdict) {
    const event = this.current();
    if (!event) return;
    if (this.follows && performance.now() - this.cameAt < JUST_CAME_MS) {
      this.onProblem("Another candidate has just come: look again, then press the key.");
      return;
    }
    await this.save(event, event.verdict === verdict ? "open" : verdict, event.note);
  }

  annotate() {
    const event = this.current();
    if (!event) return;
    const { detail } = this.items.get(event.id);
    if (detail.querySelector("form")) return;
    const form = element("form", "annotate");
    const input = element("input");
    input.maxLength = 500;
    input.value = event.note;
    input.setAttribute("aria-label", "Note on this candidate");
    const keep = element("button", "", "Keep");
    form.append(input, keep);
    form.addEventListener("submit", (submit) => {
      submit.preventDefault();
      form.remove();
      this.save(event, this.items.get(event.id).event.verdict, input.value.trim());
    });
    form.addEventListener("click", (click) => click.stopPropagation());
    input.addEventListener("keydown", (key) => {
      if (key.key === "Escape") form.remove();
    });
    detail.append(form);
    input.focus();
  }

  async save(event, verdict, note) {
    try {
      this.put(await post(`/api/candidates/${encodeURIComponent(event.id)}`, { verdict, note }));
    } catch (problem) {
      this.onProblem(problem.message);
    }
  }

  seek() {
    const event = this.current();
    if (event) this.onSeek(event.apex);
  }
}
