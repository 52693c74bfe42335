// The operator's panel: the step, what to do about it, the checklist and the log, five times a second.

const POLL_MS = 200;
const LOST_MS = 3000;
const byId = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("[data-command]")];
const dialog = byId("ask");
const QUESTIONS = {
  override: ["Go on although not everything is in order", "Why? It is kept with the recording."],
  abort: ["End the session here", "Why? What was recorded stays valid."],
  note: ["Note", "It is stamped with this moment."],
};

const drawn = new Map();
let asking = "";
let seenStep = 0;
let seenPicture = 0;
let answeredAt = performance.now();
let refusal = "";
let refusedAt = 0;

function setText(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}

function setList(id, items, make) {
  const key = JSON.stringify(items);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  byId(id).replaceChildren(...items.map(make));
}

function item(text, className = "") {
  return Object.assign(document.createElement("li"), { textContent: text, className });
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function size(bytes) {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

function drawRecording(state) {
  const on = state.seconds !== undefined;
  byId("recording").classList.toggle("on", on);
  if (!on) {
    setText("recording", "not recording");
    return;
  }
  const room = state.disk_warning ? `, only ${size(state.free_bytes)} left on disk` : "";
  setText("recording", `REC ${clock(state.seconds)}, ${size(state.bytes)}${room}`);
}

function drawChecks(checks) {
  setList("checks", checks.map(({ label, ok, detail }) => ({ label, ok, detail })), ({ label, ok, detail }) => {
    const row = item("", ok ? "" : "red");
    const words = document.createElement("div");
    words.append(Object.assign(document.createElement("b"), { textContent: label }));
    words.append(Object.assign(document.createElement("span"), { textContent: detail }));
    row.append(words);
    row.setAttribute("aria-label", `${label}: ${ok ? "in order" : "not in order"}, ${detail}`);
    return row;
  });
}

function drawLog(log) {
  const start = log.length ? log[0].time_s : 0;
  setList("log", [...log].reverse(), (entry) => {
    const row = item("");
    row.append(Object.assign(document.createElement("time"), { textContent: clock(entry.time_s - start) }));
    const what = entry.what === "step" ? entry.step : `${entry.what}: ${entry.text || entry.step}`;
    row.append(what);
    return row;
  });
}

const MARKS = { done: ["✓", "done"], now: ["●", "now"], "": ["", "to come"] };

function drawSteps(view) {
  // Where it was aborted stays to be seen.
  if (view.outcome && view.outcome !== "completed" && drawn.has("steps")) return;
  const state = (at) => (at + 1 < view.number || view.outcome ? "done" : at + 1 === view.number ? "now" : "");
  const steps = view.steps.map((title, at) => ({ title, state: state(at) }));
  setList("steps", steps, ({ title, state }) => {
    const row = item("", state);
    const [sign, words] = MARKS[state];
    const mark = Object.assign(document.createElement("span"), { className: "mark", textContent: sign });
    mark.setAttribute("aria-hidden", "true");
    row.setAttribute("aria-label", `${title}, ${words}`);
    row.append(mark, title);
    return row;
  });
  const now = byId("steps").querySelector(".now");
  if (now && view.number !== seenStep) now.scrollIntoView({ block: "nearest" });
  seenStep = view.number;
}

function drawPicture(number) {
  if (!number || number === seenPicture) return;
  seenPicture = number;
  byId("no-picture").hidden = true;
  byId("picture").hidden = false;
  byId("picture").src = `/api/session/picture?${number}`;
}

function drawResults(summary) {
  const results = byId("results");
  if (!summary.stimuli || !results.hidden) return;
  results.hidden = false;
  results.querySelector("tbody").replaceChildren(...summary.stimuli.map((each) => {
    const row = document.createElement("tr");
    const { category, emotion, agreement, present, reason } = each.label;
    const cells = [each.stimulus, emotion ? `${category} (${emotion})` : category, `${agreement} of ${present} agree`, reason];
    row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    return row;
  }));
}

function draw(view) {
  setText("who", `${view.participant}, ${view.task}`);
  setText("step", `Step ${view.number} of ${view.count}`);
  setText("title", view.title);
  setText("sentence", view.sentence);
  setText("participant-reads", view.instruction ? `The participant reads: “${view.instruction}”` : "");
  byId("time").hidden = !view.total_s;
  byId("bar").value = view.total_s ? 1 - view.remaining_s / view.total_s : 0;
  setText("left", view.total_s ? `${view.remaining_s.toFixed(1)} s` : "");
  setList("problems", view.problems, (text) => item(text));
  setList("findings", view.findings, (text) => item(text));
  drawSteps(view);
  drawPicture(view.picture);
  for (const button of buttons) button.disabled = !view.commands.includes(button.dataset.command);
  drawRecording(view.recording_state);
  drawChecks(view.checks);
  drawLog(view.log);
  drawResults(view.summary);
  const lost = view.lost.length ? `No data from ${view.lost.join(" and ")}: check the device.` : "";
  alarm(view.recording_state.stopped || lost);
}

function alarm(text) {
  const shown = text || (performance.now() - refusedAt < 6000 ? refusal : "");
  byId("alarm").hidden = !shown;
  setText("alarm", shown);
}

async function send(name, text = "") {
  const answer = await fetch("/api/session/command", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name, text }),
  }).catch(() => null);
  if (answer?.ok) return;
  const detail = (await answer?.json().catch(() => null))?.detail;
  refusal = typeof detail === "string" ? detail : "The session did not take this; please try again.";
  refusedAt = performance.now();
}

function ask(name) {
  if (!(name in QUESTIONS)) {
    send(name);
    return;
  }
  asking = name;
  const [title, label] = QUESTIONS[name];
  setText("ask-title", title);
  setText("ask-label", label);
  byId("ask-text").value = "";
  dialog.returnValue = "";
  dialog.showModal();
}

dialog.addEventListener("close", () => {
  if (dialog.returnValue === "ok") send(asking, byId("ask-text").value);
});
byId("ask-cancel").addEventListener("click", () => dialog.close());
for (const button of buttons) button.addEventListener("click", () => ask(button.dataset.command));

const KEYS = { Enter: "next", r: "redo", o: "override", m: "note", x: "abort" };
document.addEventListener("keydown", (event) => {
  if (dialog.open || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("button, a") && event.key === "Enter") return;
  const name = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const button = buttons.find((each) => each.dataset.command === name);
  if (!button || button.disabled) return;
  event.preventDefault();
  ask(name);
});

async function poll() {
  try {
    const answer = await fetch("/api/session/view", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const view = await answer.json();
    draw(view);
    answeredAt = performance.now();
    // Nothing more will come, and zygoma ends.
    if (view.summary.outcome) return;
  } catch {
    if (performance.now() - answeredAt > LOST_MS) alarm("The session does not answer: is zygoma still running?");
  }
  setTimeout(poll, POLL_MS);
}

poll();
