// Runs before the first paint: a stored choice of theme overrides the system's, without a flash of the other one.
(() => {
  "use strict";
  try {
    const stored = localStorage.getItem("softvote-theme");
    if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
  } catch {
    // Storage may be forbidden; the system's theme is then the theme.
  }
})();
