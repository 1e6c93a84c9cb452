"""Networks and data sets that number the same classes differently: which output belongs to which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ensembles.errors import ClassNamesMismatchError
from ensembles.imagenet import IMAGENET_1K, wnids_of


@dataclass(frozen=True)
class ClassMapping:
    """Where a data set's classes stand among a network's outputs.

    Attributes:
        outputs: K output numbers; class j of the data set is output `outputs[j]`.
        by: "names" where both spell the classes alike, "imagenet-1k" where the built-in list translated.
    """

    outputs: tuple[int, ...]
    by: str

    @property
    def moved(self) -> int:
        """How many classes have another number."""
        return sum(output != label for label, output in enumerate(self.outputs))

    def to_dict(self) -> dict[str, Any]:
        """What is said of it beside a result: `by` and `moved`; the outputs follow from the two lists of names."""
        return {"by": self.by, "moved": self.moved}


def map_classes(checkpoint: Sequence[str] | None, dataset: Sequence[str]) -> ClassMapping | None:
    """Match a network's outputs to a data set's classes by their names.

    Args:
        checkpoint: names in the order of the network's outputs; None if nobody recorded any.
        dataset: K names in the order of the data set's labels.

    Returns:
        None where the outputs are the classes as they stand: equal names, or none to compare.

    Raises:
        ClassNamesMismatchError: these are not the same classes.
    """
    if checkpoint is None or list(checkpoint) == list(dataset):
        return None
    if set(checkpoint) == set(dataset) and len(checkpoint) == len(dataset):
        return _mapping(checkpoint, dataset, "names")
    wnids = wnids_of(checkpoint), wnids_of(dataset)
    if wnids[0] is not None and wnids[1] is not None and set(wnids[0]) == set(wnids[1]):
        return _mapping(wnids[0], wnids[1], IMAGENET_1K)
    raise ClassNamesMismatchError(_first_absent(checkpoint, dataset), _first_absent(dataset, checkpoint))


def _mapping(checkpoint: Sequence[str], dataset: Sequence[str], by: str) -> ClassMapping:
    outputs = {name: output for output, name in enumerate(checkpoint)}
    return ClassMapping(tuple(outputs[name] for name in dataset), by)


def _first_absent(names: Sequence[str], others: Sequence[str]) -> str:
    """The first name that the others lack, or that stands more often than among them."""
    left = list(others)
    for name in names:
        if name not in left:
            return name
        left.remove(name)
    return ""
