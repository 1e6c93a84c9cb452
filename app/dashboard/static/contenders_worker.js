// Answers what weightings of an evaluation's units get wrong, beside the page. It is sent
//   {open: address of the table, units: each unit's whole weights of the table's members, rule}
//   {weigh: number of the question, weights: a whole number a unit}
// and answers {ready}, {answer}, {without} or {failed}. Only the newest question is answered to its end.

import { Contenders } from "./contenders.js";
import { compared, wrongAt } from "./weighing.js";

let table = null;
let units = [];
let rule = "mean";
let references = [];
let newest = 0;

onmessage = async ({ data }) => {
  try {
    if (data.open) await open(data);
    else weigh(data.weigh, data.weights);
  } catch (error) {
    postMessage({ failed: error.message });
  }
};

async function open(data) {
  const response = await fetch(data.open, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`the table did not come: ${response.status} ${response.statusText}`);
  const buffer = await response.arrayBuffer();
  table = Contenders.parse(buffer);
  ({ units, rule } = data);
  // What every answer is compared with: equal weights, and the best unit alone.
  const singles = units.map((_, unit) => ranksOf(units.map((_, one) => Number(one === unit))));
  const counts = singles.map((ranks) => [wrongAt(ranks, 1), wrongAt(ranks, 5)]);
  const better = (a, b) => counts[a][0] - counts[b][0] || counts[a][1] - counts[b][1] || a - b;
  const best = counts.map((_, unit) => unit).sort(better)[0];
  references = [ranksOf(units.map(() => 1)), singles[best]];
  postMessage({ ready: true, bytes: buffer.byteLength });
}

function weigh(number, weights) {
  newest = number;
  const ranks = ranksOf(weights);
  const [equal, best] = references.map((reference) => compared(ranks, reference));
  postMessage({ answer: number, top1: wrongAt(ranks, 1), top5: wrongAt(ranks, 5), equal, best });
  leaveOut(number, weights, ranks, 0);
}

// One unit at a time, so that a newer question need not wait.
function leaveOut(number, weights, ranks, unit) {
  if (unit === units.length) return;
  setTimeout(() => {
    if (newest !== number) return;
    const rest = weights.map((weight, one) => (one === unit ? 0 : weight));
    const left = weights[unit] > 0 && rest.some((weight) => weight > 0);
    postMessage({ without: number, unit, left: left ? compared(ranks, ranksOf(rest)) : null });
    leaveOut(number, weights, ranks, unit + 1);
  });
}

// A unit is a mean of prediction sets, so weights of units are whole weights of those.
function ranksOf(weights) {
  const leaves = units[0].map((_, leaf) => weights.reduce((sum, weight, unit) => sum + weight * units[unit][leaf], 0));
  return table.ranks(leaves, rule);
}
