// The operator's page: all panels, freezing and looking back, and a key for everything.

import { CandidatesPanel } from "./candidates.js";
import { FacePanel } from "./face.js";
import { number, setText } from "./format.js";
import { HealthPanel } from "./health.js";
import { Live, prepare } from "./live.js";
import { MarkersPanel, QUICK_NOTES } from "./markers.js";
import { MusclesPanel } from "./muscles.js";
import { SkinPanel } from "./skin.js";
import { KEPT_S } from "./store.js";
import { nextTheme } from "./theme.js";
import { ValencePanel } from "./valence.js";

const STEP_S = 1 / 30;

const { store, anatomy } = await prepare();
const health = new HealthPanel();
const tell = (sentence) => health.tell(sentence);
const markers = new MarkersPanel(store, tell);
const candidates = new CandidatesPanel(store, (time) => hold(time), tell);
const panels = {
  face: new FacePanel(anatomy),
  muscles: new MusclesPanel(),
  skin: new SkinPanel(),
  valence: new ValencePanel(),
  candidates,
  health,
};

let held = null;
const live = new Live(store, panels, () => held);
const cursor = document.getElementById("cursor");
const cursorText = document.getElementById("cursor-text");
const freeze = document.getElementById("freeze");
const frozen = document.getElementById("frozen");

live.onFrame = (now, time) => {
  markers.draw(now, time);
  // A minute after freezing, what is shown begins to fall out of the store.
  if (held !== null && held < now - KEPT_S) held = now - KEPT_S;
  if (held !== null) {
    cursor.value = String(held - now);
    setText(cursorText, `${number(held - now, 1)} s`);
    setText(frozen, `Frozen ${number(held - now, 1)} s`);
  }
};

/** Show the moment `time` until released; null goes on live. */
function hold(time) {
  const now = store.now();
  held = time === null || !Number.isFinite(now) ? null : Math.min(Math.max(time, now - KEPT_S), now);
  freeze.setAttribute("aria-pressed", String(held !== null));
  freeze.firstChild.textContent = held === null ? "Freeze " : "Go on ";
  frozen.hidden = held === null;
  if (held === null) {
    cursor.value = "0";
    setText(cursorText, "live");
  }
}

const step = (seconds) => hold((held ?? store.now()) + seconds);

function showHelp() {
  document.getElementById("help").showModal();
}

function changeTheme() {
  tell(`Theme: ${nextTheme()}`);
}

cursor.addEventListener("input", () => hold(Number(cursor.value) >= -STEP_S ? null : store.now() + Number(cursor.value)));
freeze.addEventListener("click", () => hold(held === null ? store.now() : null));
document.getElementById("theme").addEventListener("click", changeTheme);
document.getElementById("help-open").addEventListener("click", showHelp);

const KEYS = {
  " ": () => hold(held === null ? store.now() : null),
  ArrowLeft: (key) => step(key.shiftKey ? -1 : -STEP_S),
  ArrowRight: (key) => step(key.shiftKey ? 1 : STEP_S),
  ArrowUp: () => candidates.move(-1),
  ArrowDown: () => candidates.move(1),
  k: () => candidates.move(-1),
  j: () => candidates.move(1),
  c: () => candidates.decide("confirmed"),
  x: () => candidates.decide("rejected"),
  n: () => candidates.annotate(),
  Enter: () => candidates.seek(),
  m: () => markers.input.focus(),
  t: changeTheme,
  l: () => (panels.face.landmarks = !panels.face.landmarks),
  "?": showHelp,
};
QUICK_NOTES.forEach((text, at) => (KEYS[String(at + 1)] = () => markers.note(text)));

document.addEventListener("keydown", (key) => {
  if (key.ctrlKey || key.metaKey || key.altKey || document.getElementById("help").open) return;
  const { target } = key;
  if (target.matches("input, textarea, select")) {
    if (key.key === "Escape") target.blur();
    return;
  }
  // A focused button or link keeps Enter and Space for itself.
  if (target.matches("button, a") && (key.key === "Enter" || key.key === " ")) return;
  const work = KEYS[key.key.length === 1 ? key.key.toLowerCase() : key.key];
  if (!work) return;
  key.preventDefault();
  work(key);
});
