"""Top-k errors of fusions in rational numbers, by definition: the slow witness of the contender table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st


def oracle_wrong(members, labels, weights: Sequence[Fraction | float], k: int, rule: str = "mean") -> list[bool]:
    """Whether k other classes are at least as likely as the label, by members (N, K); whole weights if geometric."""
    weights = [Fraction(w) for w in weights]
    answers = []
    for n, label in enumerate(labels):
        rows = [[Fraction(float(p)) for p in member[n]] for member in members]
        scores = [_score([row[c] for row in rows], weights, rule) for c in range(len(rows[0]))]
        answers.append(sum(s >= scores[label] for c, s in enumerate(scores) if c != label) >= k)
    return answers


def _score(values: Sequence[Fraction], weights: Sequence[Fraction], rule: str):
    if rule == "mean":
        return sum(w * v for w, v in zip(weights, values, strict=True))
    zeros = sum(w for w, v in zip(weights, values, strict=True) if v == 0)
    # The product orders as the sum of logarithms.
    return -zeros, math.prod(v ** int(w) for w, v in zip(weights, values, strict=True) if v)


@st.composite
def awkward_members(draw, most_members: int = 5):
    """(members, labels): ties, tenths, zeros, copies of a member, one-hot rows, tiny numbers, few classes."""
    count, images, classes = draw(st.integers(1, most_members)), draw(st.integers(1, 6)), draw(st.integers(1, 8))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (images, classes)
    members = []
    for _ in range(count):
        kind = draw(st.sampled_from(["dirichlet", "tenths", "one-hot", "saturated", "halves", "copy", "swap"]))
        if kind in ("copy", "swap") and members:
            source = members[draw(st.integers(0, len(members) - 1))]
            members.append(source.copy() if kind == "copy" else source[:, generator.permutation(classes)])
        elif kind == "tenths":
            members.append((generator.integers(0, 5, shape) / 10).astype(np.float32))
        elif kind == "one-hot":
            members.append(np.eye(classes, dtype=np.float32)[generator.integers(0, classes, images)])
        elif kind == "saturated":
            probs = 10.0 ** -generator.integers(0, 44, shape)
            members.append(probs.astype(np.float32))
        elif kind == "halves":
            members.append(np.ldexp(1.0, -generator.integers(1, 4, shape)).astype(np.float32))
        else:
            members.append(
                generator.dirichlet([draw(st.sampled_from([0.02, 1.0]))] * classes, images).astype(np.float32)
            )
    return members, generator.integers(0, classes, images)
