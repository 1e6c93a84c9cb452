// The builder's page: sliders ask the worker, its answers replace the server's numbers, the address keeps the state.

import { count, percent, points, wilson } from "./weighing.js";

const root = document.getElementById("builder");
const form = document.getElementById("weights");
const units = JSON.parse(root.dataset.units);
const images = Number(root.dataset.images);
const rows = Array.from(form.querySelectorAll("[data-unit]"), (row) => ({
  row,
  on: row.querySelector("[name=on]"),
  number: row.querySelector("[name=w]"),
  slider: row.querySelector("[data-slider]"),
}));
const largest = Number(rows[0].number.max);

const worker = new Worker(root.dataset.worker, { type: "module" });
let asked = 0;
let answered = 0;
let waiting = false;
let changed = false;

const put = (id, text) => {
  document.getElementById(id).textContent = text;
};

const whole = (text) => Math.min(largest, Math.max(0, Math.round(Number(text)) || 0));
const weights = () => rows.map(({ on, number }) => (on.checked ? whole(number.value) : 0));

// One question at a time: what was moved meanwhile is asked when its answer is there.
function ask() {
  if (root.dataset.state !== "ready") return;
  const present = weights();
  const nothing = present.every((weight) => weight === 0);
  root.classList.toggle("builder-empty", nothing);
  document.getElementById("no-weight").hidden = !nothing;
  document.getElementById("save-button").disabled = nothing;
  if (nothing) return;
  if (waiting) {
    changed = true;
    return;
  }
  waiting = true;
  changed = false;
  asked += 1;
  worker.postMessage({ weigh: asked, weights: present });
}

function show({ answer, top1, top5, equal, best }) {
  for (const [name, wrong] of [["top1", top1], ["top5", top5]]) {
    const [low, high] = wilson(wrong, images);
    put(`${name}-error`, percent(wrong / images, images));
    put(`${name}-interval`, `${percent(low, images)}–${percent(high, images)}`);
    put(`${name}-count`, count(wrong));
  }
  for (const [name, other] of [["best", best], ["equal", equal]]) {
    const difference = top1 - other.wrong;
    put(`${name}-difference`, points(difference / images, images));
    put(`${name}-fixed`, count(other.fixed));
    put(`${name}-broken`, count(other.broken));
    const figure = document.getElementById(`${name}-figure`);
    figure.classList.toggle("figure-good", difference < 0);
    figure.classList.toggle("figure-bad", difference > 0);
  }
  const cost = weights().reduce((sum, weight, unit) => (weight > 0 ? sum + units[unit].gmacs : sum), 0);
  put("cost", Number(cost.toPrecision(3)).toString());
  answered = answer;
  root.dataset.answered = answer;
}

function showWithout({ unit, left }) {
  const cells = rows[unit].row;
  const difference = left && left.fixed - left.broken;
  cells.querySelector("[data-without]").textContent = left ? points(difference / images, images) : "–";
  cells.querySelector("[data-changes]").textContent = left ? `${count(left.fixed)} / ${count(left.broken)}` : "–";
}

worker.onmessage = ({ data }) => {
  if (data.ready) {
    root.dataset.state = "ready";
    put("table-size", `${(data.bytes / 1e6).toFixed(data.bytes < 1e6 ? 2 : 1)} MB`);
    document.getElementById("live-note").hidden = false;
    document.getElementById("compute").hidden = true;
    ask();
  } else if (data.answer) {
    waiting = false;
    show(data);
    if (changed) ask();
  } else if (data.without) {
    if (data.without === answered && !changed) showWithout(data);
  } else {
    root.dataset.state = "failed";
    const note = document.getElementById("failed-note");
    note.hidden = false;
    note.querySelector("span").textContent = data.failed;
  }
};

function keep() {
  const url = new URL(location.href);
  url.searchParams.delete("w");
  url.searchParams.delete("on");
  for (const { number } of rows) url.searchParams.append("w", whole(number.value));
  const on = rows.flatMap(({ on }, unit) => (on.checked ? [unit] : []));
  if (on.length < rows.length) for (const unit of on) url.searchParams.append("on", unit);
  history.replaceState(history.state, "", url);
  document.getElementById("saved-weights").value = weights().join(",");
}

form.addEventListener("input", (event) => {
  const found = rows.find(({ row }) => row.contains(event.target));
  if (!found) return;
  if (event.target === found.slider) found.number.value = found.slider.value;
  else if (event.target === found.number) found.slider.value = whole(found.number.value);
  // A slider that is moved means its unit to count.
  if (event.target === found.slider) found.on.checked = true;
  found.row.classList.toggle("off", !found.on.checked);
  ask();
});

// The address changes when a slider is let go: browsers refuse to be told hundreds of times.
form.addEventListener("change", keep);

for (const { slider } of rows) {
  slider.hidden = false;
  slider.disabled = false;
}
worker.postMessage({ open: root.dataset.table, units: units.map((unit) => unit.leaves), rule: root.dataset.rule });
