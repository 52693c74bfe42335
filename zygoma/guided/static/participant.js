// The participant's page: asks what to show, shows it, and says when a stimulus has been painted.

import { answerByDigit, build } from "./form.js";

const POLL_MS = 100;
const LOST_MS = 3000;
const body = document.body;
const byId = (id) => document.getElementById(id);
const [text, picture, film, form, begin, offline] = ["text", "picture", "film", "form", "begin", "offline"].map(byId);

let formKey = "";
let shownKey = "";
let wantedKey = "";
let loaded = "";
let answeredAt = performance.now();

/** Send; resolves to "" or to what is wrong, and never rejects. */
async function post(path, values) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
  }).catch(() => null);
  if (answer?.ok) return "";
  const detail = (await answer?.json().catch(() => null))?.detail;
  return typeof detail === "string" && detail ? detail : "This could not be sent; please try again.";
}

function load(stimulus) {
  if (!stimulus || loaded === stimulus.id) return;
  loaded = stimulus.id;
  const address = `/participant/stimulus/${encodeURIComponent(stimulus.id)}`;
  if (stimulus.medium === "video") film.src = address;
  else picture.src = address;
}

/** Resolves once the next frame with the present content is on the screen. */
function painted() {
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}

async function present(stimulus, key) {
  if (shownKey === key) return;
  shownKey = key;
  // What is still on the screen goes before its picture is exchanged.
  leave("cross");
  load(stimulus);
  body.dataset.medium = stimulus.medium;
  const ready = await (stimulus.medium === "video" ? play() : picture.decode()).then(() => true, () => false);
  if (!ready) loaded = "";
  // The operator may have stopped or repeated it meanwhile.
  if (wantedKey !== key) return;
  body.dataset.show = "stimulus";
  await painted();
  // What could not be shown is not confirmed; the session notes that.
  if (ready && wantedKey === key) post("/participant/shown", { stimulus: stimulus.id });
  // Gone on time, without the way over the network.
  setTimeout(() => { if (shownKey === key && body.dataset.show === "stimulus") leave("cross"); }, stimulus.duration_s * 1000);
}

async function play() {
  film.currentTime = 0;
  film.muted = false;
  // Without a click before, browsers play without sound only.
  await film.play().catch(() => { film.muted = true; return film.play(); });
}

function leave(show) {
  if (!film.paused) film.pause();
  body.dataset.show = show;
}

function pose(screen) {
  const held = screen.part === "contract";
  const smile = screen.pose === "smile";
  byId("mouth").setAttribute("d", held && smile ? "M27 60 Q50 88 73 60" : "M34 68 H66");
  byId("brows").setAttribute("d", held && !smile ? "M24 28 L43 36 M76 28 L57 36" : "M27 32 H42 M58 32 H73");
  byId("pose-time").value = screen.total_s ? screen.remaining_s / screen.total_s : 0;
  byId("pose-count").textContent = `${screen.attempt} of ${screen.attempts}`;
}

function draw(screen) {
  if (text.textContent !== screen.text) text.textContent = screen.text;
  wantedKey = screen.show === "stimulus" ? screen.key : "";
  if (screen.show === "stimulus") {
    present(screen.stimulus, screen.key);
    return;
  }
  if (screen.show === "pose") pose(screen);
  if (screen.show === "form" && formKey !== screen.key) {
    formKey = screen.key;
    build(form, screen.scales, screen.emotions, (report) => post("/participant/report", report));
  }
  leave(screen.show);
  load(screen.next); // Ahead of its time; nothing of it is on the screen now.
}

async function poll() {
  try {
    const answer = await fetch("/participant/screen", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const screen = await answer.json();
    draw(screen);
    answeredAt = performance.now();
    offline.hidden = true;
    if (screen.over) return;
  } catch {
    offline.hidden = performance.now() - answeredAt < LOST_MS;
  }
  setTimeout(poll, POLL_MS);
}

begin.addEventListener("click", () => {
  begin.hidden = true;
  document.documentElement.requestFullscreen?.().catch(() => {});
});

document.addEventListener("keydown", (event) => {
  if (body.dataset.show === "form" && event.target.tagName !== "TEXTAREA" && answerByDigit(form, event.key)) {
    event.preventDefault();
  } else if (!begin.hidden && event.key === "Enter" && body.dataset.show !== "form") {
    begin.click();
  }
});

poll();
