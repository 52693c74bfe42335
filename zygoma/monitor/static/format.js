// Numbers as text, and the few helpers every panel needs.

/** A light is told by its shape as well as by its colour. */
export const SHAPES = { good: "●", doubtful: "▲", bad: "■", off: "○" };

/** `value` with `digits` decimals, a dash when it is not known; `sign` writes the plus, too. */
export function number(value, digits = 0, sign = false) {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  const negative = value < 0 && Number(text) !== 0;
  return (negative ? "−" : sign ? "+" : "") + text;
}

/** A confidence of 0-1 in percent; nothing is ever called certain. */
export function percent(confidence) {
  return confidence > 0.99 ? "> 99 %" : `${number(100 * confidence)} %`;
}

/** Seconds as h:mm:ss. */
export function clock(seconds) {
  const whole = Math.max(Math.floor(seconds), 0);
  const two = (part) => String(part).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** Bytes in MB or GB. */
export function bytes(count) {
  return count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(1)} GB`;
}

/** A length of time in words short enough for the top bar. */
export function span(seconds) {
  if (seconds >= 36e4) return "over 100 h";
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds)} s`;
}

/** An element with a class, text and children; nothing is ever parsed as HTML. */
export function element(tag, className = "", content = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (content !== "") made.textContent = content;
  return made;
}

/** Set text only when it changes, so that nothing is laid out in vain. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

const colours = new Map();
const probe = element("span");
probe.hidden = true;
document.body.append(probe);
const forget = () => colours.clear();
new MutationObserver(forget).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: light)").addEventListener("change", forget);

/** The value of a colour token of the style sheet, for canvases; remembered until the theme changes. */
export function colour(name) {
  if (!colours.has(name)) {
    // Only a real property's computed value has light-dark() worked out.
    probe.style.color = `var(--${name})`;
    colours.set(name, getComputedStyle(probe).color);
  }
  return colours.get(name);
}

/** Words of a channel label such as ZYG_L. */
export function spoken(label) {
  const [muscle, side] = label.split("_");
  const muscles = { ZYG: "zygomaticus", COR: "corrugator", ORB: "orbicularis", FRO: "frontalis", LEV: "levator" };
  const sides = { L: "left", R: "right" };
  return `${muscles[muscle] ?? muscle} ${sides[side] ?? side ?? ""}`.trim();
}
