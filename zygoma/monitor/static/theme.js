// Dark, light, or as the system says; remembered by this browser.

const KEY = "zygoma-theme";
const THEMES = ["system", "dark", "light"];

function stored() {
  const theme = localStorage.getItem(KEY);
  return THEMES.includes(theme) ? theme : "system";
}

function apply(theme) {
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
}

/** The next theme; returns its name. */
export function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length];
  localStorage.setItem(KEY, theme);
  apply(theme);
  return theme;
}

apply(stored());
