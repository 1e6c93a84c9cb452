"""What the sides of a comparison are: what is compared of each, how it was configured, and where they differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.db.models import Checkpoint
from app.errors import InvalidRequestError
from app.representations.comparisons import ComparedDocument, ComparedMetric
from app.services.answering.subjects import Answers, Subject
from ensembles.alignment import SharedImages
from ensembles.calibration import calibration_gaps
from ensembles.canonical import canonical_json, digest
from ensembles.errors import Problem
from ensembles.outcomes import ImageOutcomes
from ensembles.protocol_titles import protocol_title

ECE_BINS: Final = 15

#: What each metric takes from the outcomes of n images: (n,), or (n, columns) whose means make the score.
IMAGE_VALUES: Final[Mapping[ComparedMetric, Callable[[ImageOutcomes], NDArray[Any]]]] = {
    "top1_error": lambda outcomes: outcomes.wrong(1),
    "top5_error": lambda outcomes: outcomes.wrong(5),
    "nll": ImageOutcomes.negative_log_likelihoods,
    "brier": lambda outcomes: outcomes.brier_scores,
    "ece": lambda outcomes: calibration_gaps(outcomes.confidences, ~outcomes.wrong(1), ECE_BINS),
}


class CommonClasses:
    """Numbers of classes that mean the same on every side, however each data set numbers them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def labels(self, answers: Answers) -> NDArray[np.int32]:
        """The true classes of the side's n images, (n,)."""
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in answers.index.classes]
        return np.array(numbers, dtype=np.int32)[answers.outcomes.labels]


def check_same_truth(references: Sequence[str], labels: Sequence[NDArray[np.int32]], shared: SharedImages) -> None:
    """Answers to different questions cannot be compared.

    Args:
        references: of the sides, the base first.
        labels: of each side's images, from one `CommonClasses`.
        shared: where the images lie that all sides scored.

    Raises:
        InvalidRequestError: an image whose true class is not the same everywhere.
    """
    expected = labels[0][shared.positions[0]]
    for reference, own, positions in zip(references, labels, shared.positions, strict=True):
        differing = np.flatnonzero(own[positions] != expected)
        if len(differing):
            rule = "of each shared image the true class that it has in the base's data set"
            image = shared.ids[int(differing[0])]
            value = f"{reference} with another for {len(differing)} images, such as {image}"
            raise InvalidRequestError([Problem("candidate", rule, value)])


def protocol_differences(base: Subject, candidate: Subject) -> tuple[str, ...]:
    """Fields of the protocols, members taken together, that are not the same; and "classes", where those differ."""
    left, right = _settings(base), _settings(candidate)
    return tuple(sorted(field for field in left.keys() | right.keys() if left.get(field) != right.get(field)))


def _settings(side: Subject) -> dict[str, Any]:
    # Which classes there are to be taken for matters, how a data set numbers them does not.
    settings: dict[str, Any] = {"classes": sorted(side.dataset.classes or ())}
    for field in {field for member in side.members for field in member.protocol}:
        settings[field] = {canonical_json(member.protocol.get(field)) for member in side.members}
    return settings


def _configuration(side: Subject) -> dict[str, Any]:
    """What the numbers depend on; one value a member where the members differ."""
    checkpoints = [member.checkpoint for member in side.members]
    own: dict[str, list[Any]] = {
        "checkpoint": [checkpoint.name for checkpoint in checkpoints],
        "sha256": [checkpoint.sha256 for checkpoint in checkpoints],
        "architecture": [checkpoint.architecture_name for checkpoint in checkpoints],
        "training_scale": [_training_scale(checkpoint) for checkpoint in checkpoints],
        "preprocessing": [checkpoint.preprocessing for checkpoint in checkpoints],
    }
    if side.kind == "ensemble":
        own["weight"] = [member.weight for member in side.members]
    for field in dict.fromkeys(field for member in side.members for field in member.protocol):
        own[field] = [_shown(field, member.protocol.get(field)) for member in side.members]
    return {
        "dataset": side.dataset.name,
        "dataset_fingerprint": side.dataset.fingerprint,
        **({"fusion": side.evaluation.fusion["rule"]} if side.kind == "ensemble" else {}),
        **{field: _one_or_all(values) for field, values in own.items()},
    }


def _training_scale(checkpoint: Checkpoint) -> list[int] | None:
    if checkpoint.training_scale_min is None or checkpoint.training_scale_max is None:
        return None
    return [checkpoint.training_scale_min, checkpoint.training_scale_max]


def _shown(field: str, value: Any) -> Any:
    """The blacklist of ImageNet has 1,762 ids: a digest tells lists apart as well."""
    if field == "exclude" and isinstance(value, list):
        return f"{len(value):,} ids, sha256 {digest(value)[:12]}"
    return value


def _one_or_all(values: Sequence[Any]) -> Any:
    return values[0] if len({canonical_json(value) for value in values}) == 1 else list(values)


def _protocol_title(side: Subject) -> str | None:
    titles = {member.protocol_name or _title_of(canonical_json(member.protocol)) for member in side.members}
    return titles.pop() if len(titles) == 1 else None


def describe(side: Subject, images: int, left_out: int) -> ComparedDocument:
    """A side; `images` were scored, and `left_out` of them are not shared by all sides."""
    names = {member.protocol_name for member in side.members}
    return ComparedDocument(
        reference=side.reference,
        evaluation=side.evaluation.id,
        subject=side.kind,
        name=side.name,
        members=[member.checkpoint.name for member in side.members],
        dataset=side.dataset.name,
        protocol_name=names.pop() if len(names) == 1 else None,
        protocol_title=_protocol_title(side),
        images=images,
        left_out=left_out,
        configuration=_configuration(side),
    )


@lru_cache(maxsize=1024)
def _title_of(protocol: str) -> str:
    """Hundreds of sides have few protocols between them."""
    return protocol_title(json.loads(protocol))
