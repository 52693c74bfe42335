// The Self-Assessment Manikin as line drawings: a face for valence, a restless chest for arousal.

const NS = "http://www.w3.org/2000/svg";

function element(name, attributes) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function blank() {
  const svg = element("svg", { viewBox: "0 0 100 100", "aria-hidden": "true" });
  return svg;
}

/** Unpleasant (1) to pleasant (9): the mouth turns, the brows follow. */
export function valence(step) {
  const svg = blank();
  const mood = (step - 5) / 4;
  svg.append(element("rect", { x: 14, y: 10, width: 72, height: 80, rx: 16 }));
  for (const x of [36, 64]) svg.append(element("circle", { class: "full", cx: x, cy: 42, r: 4.5 }));
  svg.append(element("path", { d: `M30 ${66 - 7 * mood} Q50 ${66 + 17 * mood} 70 ${66 - 7 * mood}` }));
  if (mood < 0) svg.append(element("path", { d: `M27 28 L42 ${28 - 8 * mood} M73 28 L58 ${28 - 8 * mood}` }));
  return svg;
}

/** Calm (1) to excited (9): from a closed eye and a dot to wide eyes and a burst. */
export function arousal(step) {
  const svg = blank();
  const level = (step - 1) / 8;
  svg.append(element("rect", { x: 14, y: 10, width: 72, height: 80, rx: 16 }));
  if (level < 0.2) {
    svg.append(element("path", { d: "M30 30 H42 M58 30 H70" }));
  } else {
    for (const x of [36, 64]) svg.append(element("circle", { cx: x, cy: 30, r: 3 + 5 * level }));
  }
  const points = [];
  for (let i = 0; i < 16; i += 1) {
    const radius = i % 2 ? 3 + 7 * level : 4 + 20 * level;
    const angle = (Math.PI * i) / 8;
    points.push(`${(50 + radius * Math.cos(angle)).toFixed(1)},${(65 + radius * Math.sin(angle)).toFixed(1)}`);
  }
  svg.append(element("polygon", { class: "full", points: points.join(" ") }));
  return svg;
}
