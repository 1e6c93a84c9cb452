"""The 1000 classes of ImageNet-1k (ILSVRC 2012-2017) in the order that networks are trained with: sorted WordNet ids.

`imagenet_classes.csv` holds them. Its WordNet ids and lemmas are those of WordNet 3.0 as timm lists them
(`timm.data.ImageNetInfo`), its names those of torchvision's weights (`weights.meta["categories"]`).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: How a manifest refers to this list of classes.
IMAGENET_1K = "imagenet-1k"


@dataclass(frozen=True)
class ImageNetClass:
    """One class.

    Attributes:
        wnid: WordNet id, "n01440764".
        name: readable and unique, "tench"; the two cranes are "crane bird" and "crane".
        lemmas: all words of the synset, "tench, Tinca tinca"; those of the two cranes are the same.
    """

    wnid: str
    name: str
    lemmas: str


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """All 1000; a class's position is its output in networks that follow the common order."""
    path = Path(__file__).with_name("imagenet_classes.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(ImageNetClass(**row) for row in csv.DictReader(file))


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """The 1000 WordNet ids, sorted."""
    return tuple(each.wnid for each in imagenet_classes())


def wnids_of(names: Sequence[str]) -> tuple[str, ...] | None:
    """Translate a list of ImageNet-1k's class names, in whatever order, to WordNet ids.

    Args:
        names: WordNet ids, readable names or lemmas, one kind throughout. Lemmas that two classes share are understood
            only where all 1000 stand in the common order.

    Returns:
        One id a name, or None if these are not the names of ImageNet-1k.
    """
    if len(names) != len(imagenet_classes()):
        return None
    for spelling, unique in _spellings():
        if tuple(names) == spelling:
            return imagenet_wnids()
        if all(name in unique for name in names):
            return tuple(unique[name] for name in names)
    return None


@cache
def _spellings() -> tuple[tuple[tuple[str, ...], Mapping[str, str]], ...]:
    """For each way to spell the classes: all 1000 in the common order, and WordNet ids by unambiguous spelling."""
    found = []
    for field in ("wnid", "name", "lemmas"):
        spelling = tuple(getattr(each, field) for each in imagenet_classes())
        counts = Counter(spelling)
        unique = {s: wnid for s, wnid in zip(spelling, imagenet_wnids(), strict=True) if counts[s] == 1}
        found.append((spelling, unique))
    return tuple(found)
