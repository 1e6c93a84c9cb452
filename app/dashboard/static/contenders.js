// The exact top-k errors of every fusion of an evaluation's prediction sets, from the table of contenders.
//
// Layout of the bytes: ensembles/contender_bytes.py. Arithmetic: ensembles/exact_sums.py, the same step for step. Sums
// are taken in doubles with a bound of their error; what lies inside the bound of zero is taken again in whole numbers.
// Nothing here touches a page: it runs in a worker, and in node for its tests.

const HEADER_BYTES = 40;
const VERSION = 1;
const EPSILON = Number.EPSILON;
// Every float32 is a multiple of 2^-149.
const UNIT_BITS = 149n;
// Products of powers are settled exactly up to this sum of whole weights.
const MAX_POWERS = 4096;

export class Contenders {
  // Of M members on N images: `always` (N) classes that are at or ahead of the label in every member; `images` (A) whose
  // answer is open; entries starts[a]..starts[a + 1] belong to images[a]; `own` (A x M) the labels' posteriors, `others`
  // (E x M) those of the classes in question.
  constructor(count, members, ks, always, images, starts, own, others) {
    Object.assign(this, { images: count, members, ks, always, open: images, starts, own, others });
    this.leads = new Map();
  }

  static parse(buffer) {
    const view = new DataView(buffer);
    if (buffer.byteLength < HEADER_BYTES || view.getUint32(0) !== 0x53564354) throw new Error("not a table of contenders");
    if (view.getUint32(4, true) !== VERSION) throw new Error(`version ${view.getUint32(4, true)}, not ${VERSION}`);
    const [count, members, open, entries, ks] = [0, 1, 2, 3, 4].map((place) => view.getUint32(8 + 4 * place, true));
    let offset = HEADER_BYTES;
    const section = (Type, length) => {
      if (offset + length * Type.BYTES_PER_ELEMENT > buffer.byteLength) throw new Error("the table is cut short");
      const array = new Type(buffer, offset, length);
      offset += Math.ceil((length * Type.BYTES_PER_ELEMENT) / 8) * 8;
      return array;
    };
    const table = new Contenders(
      count,
      members,
      Array.from(section(Uint8Array, ks)),
      section(Uint8Array, count),
      section(Uint32Array, open),
      section(Uint32Array, open + 1),
      section(Float32Array, open * members),
      section(Float32Array, entries * members),
    );
    if (offset !== buffer.byteLength) throw new Error("the table is longer than its header says");
    return table;
  }

  // For each image how many classes the fusion puts at or ahead of its label, counted up to the largest k: the label is
  // outside the top k where they are k or more. `weights`: a whole number >= 0 a member, their sum above 0.
  ranks(weights, rule = "mean") {
    const whole = reduced(weights, this.members);
    const leads = this.#leads(rule);
    const largest = this.ks[this.ks.length - 1];
    const ranks = this.always.slice();
    for (let place = 0; place < this.open.length; place += 1) {
      const image = this.open[place];
      ranks[image] += leads.countAhead(place, this.starts[place], this.starts[place + 1], whole, largest - ranks[image]);
    }
    return ranks;
  }

  // How many images the fusion answers wrongly, for each of `ks`.
  errorCounts(weights, rule = "mean") {
    const ranks = this.ranks(weights, rule);
    const having = new Array(this.ks[this.ks.length - 1] + 1).fill(0);
    for (let image = 0; image < ranks.length; image += 1) having[ranks[image]] += 1;
    return this.ks.map((k) => having.slice(k).reduce((sum, images) => sum + images, 0));
  }

  errorCount(weights, k, rule = "mean") {
    return this.errorCounts(weights, rule)[this.#place(k)];
  }

  // For each image 1 where its label is outside the top k, else 0.
  wrong(weights, k, rule = "mean") {
    this.#place(k);
    return this.ranks(weights, rule).map((rank) => Number(rank >= k));
  }

  #place(k) {
    if (!this.ks.includes(k)) throw new Error(`k: one of ${this.ks.join(", ")}, not ${k}`);
    return this.ks.indexOf(k);
  }

  #leads(rule) {
    if (!this.leads.has(rule)) {
      const Leads = { mean: MeanLeads, geometric: GeometricLeads }[rule];
      if (!Leads) throw new Error(`rule: mean or geometric, not ${rule}`);
      this.leads.set(rule, new Leads(this));
    }
    return this.leads.get(rule);
  }
}

// By how much each class leads its label in each member, and how many do so in a weighted mean.
class MeanLeads {
  constructor(table) {
    const { members, starts, own, others } = table;
    this.table = table;
    this.values = new Float64Array(others.length);
    // Whole weights whose sum of weighted leads is smaller give sums without a rounding: all are multiples of one unit.
    this.exactBelow = new Float64Array(others.length / members || 0);
    for (let place = 0; place < table.open.length; place += 1) {
      for (let entry = starts[place]; entry < starts[place + 1]; entry += 1) {
        let smallest = 1;
        for (let member = 0; member < members; member += 1) {
          const other = others[entry * members + member];
          const label = own[place * members + member];
          this.values[entry * members + member] = other - label;
          if (other > 0 && other < smallest) smallest = other;
          if (label > 0 && label < smallest) smallest = label;
        }
        this.exactBelow[entry] = spacing(smallest) * 2 ** 52;
      }
    }
  }

  // Of the entries start..end of the image at `place`, those at or ahead of the label, at most `most`.
  countAhead(place, start, end, weights, most) {
    const { values, exactBelow } = this;
    const members = weights.length;
    const relative = (members + 6) * EPSILON;
    let count = 0;
    for (let entry = start; entry < end && count < most; entry += 1) {
      let sum = 0;
      let size = 0;
      for (let member = 0, at = entry * members; member < members; member += 1, at += 1) {
        const lead = weights[member] * values[at];
        sum += lead;
        size += Math.abs(lead);
      }
      const told = Math.abs(sum) > relative * size || size < exactBelow[entry];
      if (told ? sum >= 0 : this.#settle(entry, place, weights)) count += 1;
    }
    return count;
  }

  #settle(entry, place, weights) {
    const { members, others, own } = this.table;
    let sum = 0n;
    for (let member = 0; member < members; member += 1) {
      const lead = inUnits(others[entry * members + member]) - inUnits(own[place * members + member]);
      sum += BigInt(weights[member]) * lead;
    }
    return sum >= 0n;
  }
}

// The same of logarithms. A zero is counted, never logged: whoever is zero in members of more weight is behind.
class GeometricLeads {
  constructor(table) {
    const { members, starts, own, others } = table;
    this.table = table;
    this.values = new Float64Array(others.length);
    this.sizes = new Float64Array(others.length);
    this.vetoes = new Int8Array(others.length);
    for (let place = 0; place < table.open.length; place += 1) {
      for (let entry = starts[place]; entry < starts[place + 1]; entry += 1) {
        for (let member = 0; member < members; member += 1) {
          const at = entry * members + member;
          const other = others[at];
          const label = own[place * members + member];
          const [a, b] = [other > 0 ? Math.log(other) : 0, label > 0 ? Math.log(label) : 0];
          this.values[at] = a - b;
          this.sizes[at] = Math.abs(a) + Math.abs(b);
          this.vetoes[at] = Number(other <= 0) - Number(label <= 0);
        }
      }
    }
  }

  countAhead(place, start, end, weights, most) {
    const { values, sizes, vetoes } = this;
    const members = weights.length;
    const relative = (members + 6) * EPSILON;
    let count = 0;
    for (let entry = start; entry < end && count < most; entry += 1) {
      let sum = 0;
      let size = 0;
      let vetoed = 0;
      for (let member = 0, at = entry * members; member < members; member += 1, at += 1) {
        sum += weights[member] * values[at];
        size += weights[member] * sizes[at];
        vetoed += weights[member] * vetoes[at];
      }
      const told = Math.abs(sum) > relative * size;
      if (vetoed === 0 ? (told ? sum >= 0 : this.#settle(entry, place, weights)) : vetoed < 0) count += 1;
    }
    return count;
  }

  #settle(entry, place, weights) {
    const { members, others, own } = this.table;
    // Nobody can tell, and ties count against the label.
    if (weights.reduce((sum, weight) => sum + weight, 0) > MAX_POWERS) return true;
    let [theirs, labels] = [1n, 1n];
    for (let member = 0; member < members; member += 1) {
      const power = BigInt(weights[member]);
      theirs *= (inUnits(others[entry * members + member]) || 1n << UNIT_BITS) ** power;
      labels *= (inUnits(own[place * members + member]) || 1n << UNIT_BITS) ** power;
    }
    return theirs >= labels;
  }
}

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

// A float32 in units of 2^-149.
function inUnits(value) {
  float[0] = value;
  const exponent = (bits[0] >>> 23) & 255;
  const mantissa = BigInt(bits[0] & 0x7fffff);
  return exponent === 0 ? mantissa : (mantissa | 0x800000n) << BigInt(exponent - 1);
}

// From a float32 to the next larger one.
function spacing(value) {
  float[0] = value;
  return 2 ** (Math.max((bits[0] >>> 23) & 255, 1) - 150);
}

// The smallest whole numbers in the ratios of the weights.
function reduced(weights, members) {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const fits = weights.length === members && weights.every((weight) => Number.isSafeInteger(weight) && weight >= 0);
  if (!fits || sum <= 0 || !Number.isSafeInteger(sum)) {
    throw new Error(`weights: ${members} whole numbers >= 0 with a sum above 0, not ${weights.join(", ")}`);
  }
  const divisor = weights.reduce(gcd, 0);
  return weights.map((weight) => weight / divisor);
}

function gcd(a, b) {
  return b === 0 ? a : gcd(b, a % b);
}
