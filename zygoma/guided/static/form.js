// The self-report form: built from the scales that the protocol asks for, sent as one JSON object.

import * as manikin from "./manikin.js";

function make(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function manikinScale(name, question, low, high) {
  const scale = make("div", { className: "scale" });
  for (let step = 1; step <= 9; step += 1) {
    const radio = make("input", { type: "radio", name, value: String(step), required: true });
    radio.setAttribute("aria-label", `${step} of 9, 1 is ${low}, 9 is ${high}`);
    // Nine steps, a figure over every second, as on paper.
    const figure = step % 2 ? manikin[name](step) : document.createElementNS("http://www.w3.org/2000/svg", "svg");
    figure.setAttribute("viewBox", "0 0 100 100");
    scale.append(make("label", { className: "step" }, figure, radio, make("span", { textContent: String(step) })));
  }
  const ends = make("div", { className: "ends" }, make("span", { textContent: low }), make("span", { textContent: high }));
  return make("fieldset", {}, make("legend", { textContent: question }), scale, ends);
}

function strengths(emotions) {
  const field = make("fieldset", {}, make("legend", { textContent: "How strongly did you feel ..." }));
  for (const emotion of emotions) {
    const output = make("output", { textContent: "0" });
    const slider = make("input", { type: "range", min: "0", max: "10", step: "1", value: "0", name: `emotion-${emotion}` });
    slider.addEventListener("input", () => { output.textContent = slider.value; });
    field.append(make("label", { className: "strength" }, make("span", { textContent: emotion }), slider, output));
  }
  field.append(make("div", { className: "ends" }, make("span", { textContent: "0 not at all" }), make("span", { textContent: "10 most" })));
  return field;
}

function words() {
  const area = make("textarea", { name: "text", maxLength: 2000, rows: 2 });
  area.setAttribute("aria-label", "In your own words");
  return make("fieldset", {}, make("legend", { textContent: "In your own words (if you like)" }), area);
}

/** Put a fresh form into `form`; `send(report)` resolves to "" or to what is wrong. */
export function build(form, scales, emotions, send) {
  const left = make("div", { className: "column" });
  const right = make("div", { className: "column" });
  if (scales.includes("valence")) left.append(manikinScale("valence", "How pleasant was it?", "unpleasant", "pleasant"));
  if (scales.includes("arousal")) left.append(manikinScale("arousal", "How excited were you?", "calm", "excited"));
  if (scales.includes("emotions")) right.append(strengths(emotions));
  if (scales.includes("text")) right.append(words());
  const problem = make("p", { role: "alert" });
  const button = make("button", { type: "submit", textContent: "Continue" });
  form.replaceChildren(...[left, right].filter((column) => column.childElementCount), make("div", { className: "last" }, problem, button));
  form.noValidate = true;
  form.onsubmit = async (event) => {
    event.preventDefault();
    const report = read(form, scales, emotions);
    const missing = ["valence", "arousal"].filter((name) => scales.includes(name) && report[name] === undefined);
    if (missing.length) {
      problem.textContent = `Please choose a figure for ${missing.map((name) => (name === "valence" ? "pleasant" : "excited")).join(" and ")}.`;
      form.querySelector(`[name="${missing[0]}"]`).focus();
      return;
    }
    button.disabled = true;
    problem.textContent = await send(report);
    button.disabled = false;
  };
}

function read(form, scales, emotions) {
  const data = new FormData(form);
  const report = {};
  for (const name of ["valence", "arousal"]) {
    if (scales.includes(name) && data.get(name)) report[name] = Number(data.get(name));
  }
  if (scales.includes("emotions")) {
    report.emotions = Object.fromEntries(emotions.map((emotion) => [emotion, Number(data.get(`emotion-${emotion}`))]));
  }
  if (scales.includes("text")) report.text = data.get("text");
  return report;
}

/** A digit answers the first manikin that has no answer yet (outside of the text field). */
export function answerByDigit(form, key) {
  if (!/^[1-9]$/.test(key)) return false;
  for (const name of ["valence", "arousal"]) {
    const radios = [...form.querySelectorAll(`[name="${name}"]`)];
    if (radios.length && !radios.some((radio) => radio.checked)) {
      radios[Number(key) - 1].checked = true;
      radios[Number(key) - 1].focus();
      return true;
    }
  }
  return false;
}
