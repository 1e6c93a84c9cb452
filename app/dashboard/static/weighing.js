// Counts and the words for them, as the server says them: app/services/searching/weightings.py, app/dashboard/formatting.py.

const Z = 1.959963984540054;
const MINUS = "\u2212";

// Images whose label is outside the top k; `ranks` are counts of the classes at or ahead of it.
export function wrongAt(ranks, k) {
  let wrong = 0;
  for (let image = 0; image < ranks.length; image += 1) if (ranks[image] >= k) wrong += 1;
  return wrong;
}

// A weighting's top-1 answers against a reference's: how many the reference gets wrong, and how many the weighting mends
// and breaks.
export function compared(ranks, reference) {
  let [wrong, fixed, broken] = [0, 0, 0];
  for (let image = 0; image < ranks.length; image += 1) {
    const [here, there] = [ranks[image] >= 1, reference[image] >= 1];
    if (there) wrong += 1;
    if (there && !here) fixed += 1;
    if (here && !there) broken += 1;
  }
  return { wrong, fixed, broken };
}

// Wilson's 95 % interval of an error rate.
export function wilson(wrong, n) {
  const rate = wrong / n;
  const center = rate + (Z * Z) / (2 * n);
  const half = Z * Math.sqrt((rate * (1 - rate)) / n + (Z * Z) / (4 * n * n));
  const scale = 1 + (Z * Z) / n;
  return [wrong === 0 ? 0 : (center - half) / scale, wrong === n ? 1 : (center + half) / scale];
}

export function percent(fraction, n) {
  return fixed(100 * fraction, n < 1000 ? 1 : 2);
}

export function points(difference, n) {
  const digits = fixed(Math.abs(100 * difference), n < 1000 ? 1 : 2);
  if (Number(digits) === 0) return digits;
  return (difference < 0 ? MINUS : "+") + digits;
}

export function count(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

// So many decimals; a number exactly between two goes to the even one, as in Python.
export function fixed(value, decimals) {
  const scaled = value * 10 ** decimals;
  const between = Number.isInteger(value * 2 ** (decimals + 1)) && scaled - Math.floor(scaled) === 0.5;
  if (!between) return value.toFixed(decimals);
  const below = Math.floor(scaled);
  return ((below % 2 === 0 ? below : below + 1) / 10 ** decimals).toFixed(decimals);
}
