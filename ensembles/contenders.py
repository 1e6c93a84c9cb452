"""The few numbers of M members' posteriors on which the top-k errors of all their fusions depend, exactly.

A fused posterior with weights >= 0 can put a class at or ahead of the label only if some member with weight does, and
always does if all do; so for the arithmetic and for the geometric mean (proof: docs/ensembles.md). One pass over the
posteriors keeps, an image, how many classes every member puts there, and the values of the classes that only some do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import NonFiniteProbsError, PosteriorsFormatError, Problem, SpecError
from ensembles.exact_sums import Margins, Rule, WeightsLike, whole_weights
from ensembles.metrics import check_k, check_labels
from ensembles.predictions import PosteriorParts

#: The k of top-k that the paper reports.
PAPER_KS = (1, 5)

_FILE_ROWS, _CACHE_ROWS = 4096, 256
#: Rivals that a class is compared with to see whether it can matter: more would drop few classes more.
_RIVALS = 12
#: Numbers of a block of weighted sums.
_BLOCK_NUMBERS = 1 << 22


@dataclass(frozen=True, eq=False)
class Contenders:
    """What M members' fusions can disagree about, on N images.

    Attributes:
        ks: the k for which top-k errors are answered, ascending.
        always: (N,) uint8, classes that every member puts at or ahead of the label, at most the largest of `ks`.
        images: (A,) int32, ascending: the images whose answers depend on the fusion for some k.
        starts: (A + 1,) int64: entries [starts[a], starts[a + 1]) belong to image `images[a]`; each has some.
        own: (A, M) float32, posteriors of the labels.
        others: (E, M) float32, posteriors of the classes that only some members put at or ahead of the label, without
            those that can change no answer.
    """

    ks: tuple[int, ...]
    always: NDArray[np.uint8]
    images: NDArray[np.int32]
    starts: NDArray[np.int64]
    own: NDArray[np.float32]
    others: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.always)

    @property
    def members(self) -> int:
        """M."""
        return int(self.own.shape[1])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(A,) entries an image."""
        return np.diff(self.starts)

    def margins(self, rule: Rule = "mean") -> Margins:
        """By how much each entry leads its label in each member."""
        return Margins.of(self.others, np.repeat(self.own, self.lengths, axis=0), rule)

    def settled_wrong(self, k: int) -> NDArray[np.bool_]:
        """(N,), True where the label is outside the top k whatever the weights.

        Raises:
            SpecError: the table does not answer this k.
        """
        self.check_answers(k)
        return self.always >= k

    def open_images(self, k: int) -> NDArray[np.int64]:
        """Positions in `images` of those whose top-k answer depends on the weights."""
        self.check_answers(k)
        always = self.always[self.images].astype(np.int64)
        return np.flatnonzero((always < k) & (always + self.lengths >= k))

    def check_answers(self, k: int) -> None:
        """Refuse a k that is not among `ks`."""
        check_k(k)
        if k not in self.ks:
            raise SpecError([Problem("k", f"one of {', '.join(map(str, self.ks))}", k)])

    def wrong(self, weights: WeightsLike, k: int = 1, rule: Rule = "mean") -> NDArray[np.bool_]:
        """Whether each image's label is outside the top k of the fusion; exact, ties count against the label.

        Args:
            weights: M finite numbers >= 0 of any sum above 0; fractions and floats are taken at their exact values.
            k: one of `ks`.
            rule: "mean" or "geometric".

        Returns:
            (N,), True where wrong.

        Raises:
            SpecError: an argument breaks its rule.
        """
        wrong = self.settled_wrong(k)
        wrong[self.images] = self._open_wrong(self.margins(rule), [weights], k)[0]
        return wrong

    def ranks(self, weights: Sequence[WeightsLike], rule: Rule = "mean") -> NDArray[np.uint8]:
        """Of each of C weightings and each image a number, (C, N): its label is outside the top k where that is >= k.

        So for every k of `ks`; between two of them the number says nothing more. Arguments and errors as `wrong`.
        """
        ranks = np.repeat(self.always[np.newaxis], len(weights), axis=0)
        margins = self.margins(rule)
        step = max(1, _BLOCK_NUMBERS // max(1, len(self.others)))
        for start in range(0, len(weights), step):
            block = weights[start : start + step]
            ranks[start : start + len(block), self.images] = np.minimum(self._ahead(margins, block), self.ks[-1])
        return ranks

    def error_counts(self, weights: Sequence[WeightsLike], k: int = 1, rule: Rule = "mean") -> NDArray[np.int64]:
        """How many images each of C weightings answers wrongly, (C,); arguments and errors as `wrong`."""
        settled = int(np.count_nonzero(np.delete(self.settled_wrong(k), self.images)))
        margins = self.margins(rule)
        step = max(1, _BLOCK_NUMBERS // max(1, len(self.others)))
        blocks = [weights[start : start + step] for start in range(0, len(weights), step)]
        counts = [self._open_wrong(margins, block, k).sum(axis=1, dtype=np.int64) for block in blocks]
        return settled + np.concatenate([np.empty(0, np.int64), *counts])

    def _open_wrong(self, margins: Margins, weights: Sequence[WeightsLike], k: int) -> NDArray[np.bool_]:
        wrong: NDArray[np.bool_] = self._ahead(margins, weights) >= k
        return wrong

    def _ahead(self, margins: Margins, weights: Sequence[WeightsLike]) -> NDArray[np.int32]:
        """How many classes are at or ahead of the label, in each of C weightings and A open images."""
        whole = [whole_weights(each, self.members) for each in weights]
        ahead = margins.at_or_ahead(whole)
        if len(self.images):
            counts: NDArray[np.int32] = np.add.reduceat(ahead, self.starts[:-1], axis=1, dtype=np.int32)
        else:
            counts = ahead.astype(np.int32)
        return counts + self.always[self.images].astype(np.int32)

    def take(self, chosen: NDArray[np.bool_]) -> Contenders:
        """Those of some images, by a mask (N,)."""
        if chosen.dtype != np.bool_ or chosen.shape != self.always.shape:
            rule = f"bool ({len(self)},)"
            raise SpecError([Problem("chosen", rule, (str(chosen.dtype), chosen.shape))])
        kept = chosen[self.images]
        numbers = np.cumsum(chosen) - 1
        return Contenders(
            self.ks,
            self.always[chosen],
            numbers[self.images[kept]].astype(np.int32),
            _starts(self.lengths[kept]),
            self.own[kept],
            self.others[np.repeat(kept, self.lengths)],
        )

    @classmethod
    def concatenate(cls, blocks: Sequence[Contenders]) -> Contenders:
        """Blocks of images with the same members and `ks`, at least one, put behind one another."""
        if not blocks:
            raise SpecError([Problem("blocks", "at least one", 0)])
        firsts = np.cumsum([0, *(len(block) for block in blocks)])
        return cls(
            blocks[0].ks,
            np.concatenate([block.always for block in blocks]),
            np.concatenate([block.images + np.int32(first) for block, first in zip(blocks, firsts, strict=False)]),
            _starts(np.concatenate([block.lengths for block in blocks])),
            np.concatenate([block.own for block in blocks]),
            np.concatenate([block.others for block in blocks]),
        )


def find_contenders(
    members: Sequence[PosteriorParts | NDArray[np.float32]],
    labels: NDArray[np.integer],
    scored: NDArray[np.bool_] | None = None,
    ks: tuple[int, ...] = PAPER_KS,
) -> Contenders:
    """One pass over M members' posteriors, block by block.

    Args:
        members: M prediction sets of the same images and classes: part files, or arrays (N, K) float32 such as memory
            maps. Part files are mapped a block at a time, so that they never fill the memory.
        labels: (N,) integers in 0..K-1.
        scored: (N,), the images to keep, such as those that every member could read; None means all.
        ks: the k of top-k to answer, ascending; fewer and smaller ones make a smaller table.

    Returns:
        The table of the scored images, in their order.

    Raises:
        SpecError: no member, unequal shapes, or labels, `scored` or `ks` that break a rule.
        PosteriorsFormatError: an array that is not float32.
        NonFiniteProbsError: NaN or infinity in the row of a scored image.
    """
    problems = []
    if not members:
        problems.append(Problem("members", "at least one prediction set", 0))
    if not ks or list(ks) != sorted(set(ks)) or not 1 <= ks[0] <= ks[-1] <= 255:  # `always` is one byte
        problems.append(Problem("ks", "ascending whole numbers from 1 to 255", ks))
    mask = np.ones(len(labels), np.bool_) if scored is None else scored
    if mask.dtype != np.bool_ or mask.shape != labels.shape:
        problems.append(Problem("scored", f"bool {labels.shape}", (str(mask.dtype), mask.shape)))
    if problems:
        raise SpecError(problems)
    tables = [_block_contenders([m[:0] for m in next(_blocks(members, labels))[1]], labels[:0], ks, 0)]
    for start, probs in _blocks(members, labels):
        for inner in range(start, start + len(probs[0]), _CACHE_ROWS):
            rows = mask[inner : inner + _CACHE_ROWS]
            pieces = [p[inner - start : inner - start + _CACHE_ROWS] for p in probs]
            own = labels[inner : inner + _CACHE_ROWS]
            if not rows.all():
                pieces, own = [piece[rows] for piece in pieces], own[rows]
            tables.append(_block_contenders(pieces, own, ks, inner))
    return Contenders.concatenate(tables)


def _blocks(
    members: Sequence[PosteriorParts | NDArray[np.float32]], labels: NDArray[np.integer]
) -> Iterator[tuple[int, list[NDArray[np.float32]]]]:
    shapes = [(m.stop - m.start, m.classes) if isinstance(m, PosteriorParts) else m.shape for m in members]
    if len(shapes[0]) != 2 or len(set(shapes)) > 1 or shapes[0][0] != len(labels) or not len(labels):
        rule = f"(N, K) alike, N = {len(labels)} labels, at least 1"
        raise SpecError([Problem("members", rule, shapes)])
    for position, member in enumerate(members):
        if not isinstance(member, PosteriorParts) and member.dtype != np.float32:
            raise PosteriorsFormatError(f"members[{position}]", "float32", str(member.dtype))
    streams = [_member_blocks(member) for member in members]
    for number, probs in enumerate(zip(*streams, strict=True)):
        yield number * _FILE_ROWS, list(probs)


def _member_blocks(member: PosteriorParts | NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    if isinstance(member, PosteriorParts):
        for _, block in member.blocks(_FILE_ROWS):
            yield block
    else:
        for start in range(0, len(member), _FILE_ROWS):
            yield member[start : start + _FILE_ROWS]


def _block_contenders(
    probs: Sequence[NDArray[np.float32]], labels: NDArray[np.integer], ks: tuple[int, ...], first: int
) -> Contenders:
    check_labels(probs[0], labels)
    images = np.arange(len(labels))
    own = np.stack([p[images, labels] for p in probs], axis=1)
    some = np.zeros(probs[0].shape, dtype=np.bool_)
    every = np.ones(probs[0].shape, dtype=np.bool_)
    for position, p in enumerate(probs):
        at_least = p >= own[:, position, np.newaxis]
        some |= at_least
        every &= at_least
        # Posteriors are at most 1, so the sum of a row is infinite or NaN only where some number is.
        finite = np.isfinite(p.sum(axis=1))
        if not finite.all():
            raise NonFiniteProbsError(f"members[{position}]", first + int(np.argmin(finite)), int((~finite).sum()))
    always = np.minimum(every.sum(axis=1) - 1, ks[-1]).astype(np.uint8)  # the label is at its own value in all
    some ^= every
    counts = some.sum(axis=1)
    # Of an image that nothing can change for any k, no class is kept.
    largest_k = np.zeros(len(labels), dtype=np.int64)
    for k in ks:
        largest_k[(always < k) & (always + counts >= k)] = k
    some[largest_k == 0] = False
    rows, classes = np.nonzero(some)
    others = np.stack([p[rows, classes] for p in probs], axis=1)
    needed = (largest_k - always)[rows]
    kept = _can_matter(others, rows, needed)
    open_images, lengths = np.unique(rows[kept], return_counts=True)
    return Contenders(ks, always, open_images.astype(np.int32), _starts(lengths), own[open_images], others[kept])


def _can_matter(others: NDArray[np.float32], rows: NDArray[np.int64], needed: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which entries (E,) can decide whether `needed` of their image's are at or ahead of the label.

    One that `needed` others equal or exceed in every member is only there when they are, too. Whether they do is asked
    of an image's strongest only.
    """
    if not len(rows):
        return np.ones(0, dtype=np.bool_)
    strength = others.sum(axis=1, dtype=np.float64)
    order = np.lexsort((-strength, rows))
    sorted_rows, values = rows[order], others[order]
    starts = np.flatnonzero(np.diff(sorted_rows, prepend=-1))
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    stronger = np.zeros(len(rows), dtype=np.int64)
    for rival in range(_RIVALS):
        # Only earlier ones count: of two equal entries one must stay.
        behind = np.flatnonzero(place > rival)
        if not len(behind):
            break
        ahead_of = behind - place[behind] + rival
        stronger[behind] += (values[ahead_of] >= values[behind]).all(axis=1)
    kept = np.empty(len(rows), dtype=np.bool_)
    kept[order] = stronger < needed[order]
    return kept


def _starts(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    starts = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts
