// What the pages do beyond HTML: theme, ages that tick, copying, and forms that submit themselves. All of it is optional.
(() => {
  "use strict";

  const root = document.documentElement;
  const themes = ["system", "light", "dark"];

  const currentTheme = () => root.dataset.theme ?? "system";

  const showTheme = (button) => {
    button.querySelector("[data-theme-name]").textContent = currentTheme();
  };

  const nextTheme = (button) => {
    const theme = themes[(themes.indexOf(currentTheme()) + 1) % themes.length];
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    try {
      if (theme === "system") localStorage.removeItem("softvote-theme");
      else localStorage.setItem("softvote-theme", theme);
    } catch {
      // The choice then lasts for this page only.
    }
    showTheme(button);
  };

  const ageSteps = [[172800, 86400, "d"], [7200, 3600, "h"], [90, 60, "min"], [0, 1, "s"]];

  const age = (then) => {
    const seconds = Math.max(0, Math.round((Date.now() - then) / 1000));
    if (seconds === 0) return "now";
    const [, unit, letter] = ageSteps.find(([start]) => seconds >= start);
    return `${Math.floor(seconds / unit)} ${letter} ago`;
  };

  const tick = () => {
    for (const element of document.querySelectorAll("time[data-age]")) {
      const text = age(Date.parse(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    }
  };

  const copy = async (button) => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy by hand";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-theme-toggle]");
    if (!button) {
      for (const open of document.querySelectorAll("details.confirm[open]")) {
        if (!open.contains(event.target)) open.open = false;
      }
      return;
    }
    if (button.dataset.copy) copy(button);
    else nextTheme(button);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of document.querySelectorAll("details.confirm[open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });

  // The basket: what is ticked stands in the address, and goes along to other pages of the list.
  const showBasket = () => {
    const form = document.getElementById("basket");
    if (!form) return;
    const chosen = new FormData(form).getAll("candidate");
    for (const count of document.querySelectorAll("[data-basket-count]")) count.textContent = chosen.length || "";
    const carry = (address) => {
      const url = new URL(address, location.href);
      url.searchParams.delete("candidate");
      for (const reference of chosen) url.searchParams.append("candidate", reference);
      return url.href;
    };
    history.replaceState(history.state, "", carry(location.href));
    for (const link of document.querySelectorAll(".tabs a, .pager a")) link.href = carry(link.href);
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-basket-tick]")) showBasket();
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });

  // A form whose state is kept in the URL: what only a POST needs stays out of it.
  document.addEventListener("htmx:config:request", (event) => {
    const { request, sourceElement } = event.detail.ctx;
    if (request.method !== "GET" || !sourceElement.matches("form")) return;
    for (const input of sourceElement.querySelectorAll("[data-post-only]")) request.body?.delete(input.name);
  });

  const toggle = document.querySelector("[data-theme-toggle]");
  if (toggle) {
    toggle.hidden = false;
    showTheme(toggle);
  }
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  document.addEventListener("htmx:after:swap", () => {
    tick();
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  });
  tick();
  setInterval(tick, 1000);
})();
