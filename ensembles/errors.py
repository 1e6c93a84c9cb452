"""Every error the library raises. Each carries its data as attributes and a stable `code`, listed in docs/errors.md."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a request: where (`field`, a dotted path), which rule, and the value that broke it."""

    field: str
    rule: str
    value: object
    code: str = "invalid_value"

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}; got {self.value!r}"


class EnsemblesError(Exception):
    """Root of the library's errors."""

    code: ClassVar[str] = "ensembles_error"


class SpecError(EnsemblesError):
    """A specification broke one or more rules; all of them are in `problems`."""

    code = "invalid_spec"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class UnknownNameError(EnsemblesError):
    """A name that is not among the known ones; near matches are suggested."""

    code = "unknown_name"

    def __init__(self, field: str, name: str, known: Iterable[str]) -> None:
        self.field, self.name, self.known = field, name, tuple(known)
        self.near = tuple(difflib.get_close_matches(name, self.known, n=3, cutoff=0.5))
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else f"known: {', '.join(self.known) or 'none'}"
        super().__init__(f"{field}: unknown name {name!r}; {hint}")


class ScaleTooSmallError(EnsemblesError):
    """A test scale Q smaller than the network's crop: no position of the score map would exist."""

    code = "scale_too_small"

    def __init__(self, scale: int, crop: int, subject: str = "the network") -> None:
        self.scale, self.crop, self.subject = scale, crop, subject
        super().__init__(
            f"scales: every test scale Q must be at least the crop, {crop} px for {subject}; got Q = {scale}"
        )


class DenseUnsupportedError(EnsemblesError):
    """A dense view of a network that has no dense form, or not that one."""

    code = "dense_unsupported"

    def __init__(self, subject: str, reason: str) -> None:
        self.subject, self.reason = subject, reason
        super().__init__(f"modes: {subject} cannot be evaluated densely as asked: {reason}")


class TrainingScaleMissingError(EnsemblesError):
    """The paper's rule for Q needs the checkpoint's training scale S, and none was recorded."""

    code = "training_scale_missing"

    def __init__(self, subject: str = "the checkpoint") -> None:
        self.subject = subject
        super().__init__(
            f'scales: "single" and "multi" derive Q from the training scale S, and {subject} has none recorded; '
            "register it with --train-scale, or list the scales"
        )


class EmptyDatasetError(EnsemblesError):
    """A data set without a single image."""

    code = "empty_dataset"

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"data set {path!r}: at least one image is needed; found none")


class DatasetFormatError(EnsemblesError):
    """A data set whose layout or manifest breaks a rule."""

    code = "dataset_format"

    def __init__(self, field: str, rule: str, value: object) -> None:
        self.field, self.rule, self.value = field, rule, value
        super().__init__(f"{field}: {rule}; got {value!r}")


class DatasetProblemsError(DatasetFormatError):
    """A data set in which several entries break rules; all are in `problems`, the message says the first."""

    code = "dataset_problems"
    _SHOWN = 20

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        self.path, self.problems = path, tuple(problems)
        first = self.problems[0]
        super().__init__(first.field, first.rule, first.value)
        shown = "; ".join(map(str, self.problems[: self._SHOWN]))
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        first_of = f", first {self._SHOWN}" if len(self.problems) > self._SHOWN else ""
        self.args = (f"data set {path!r} has {count}{first_of}: {shown}",)


class ClassNamesMismatchError(EnsemblesError):
    """Class names of a checkpoint that are not, in whatever order, those of the data set."""

    code = "class_names_mismatch"

    def __init__(self, checkpoint_class: str, dataset_class: str) -> None:
        self.checkpoint_class, self.dataset_class = checkpoint_class, dataset_class
        super().__init__(
            f"class names: those of the checkpoint and of the data set must be the same, in any order; the checkpoint "
            f"alone has {checkpoint_class!r}, the data set alone {dataset_class!r}"
        )


class UnreadableImageError(EnsemblesError):
    """An image that could not be decoded, or that a rule forbids; `reason` says which."""

    code = "unreadable_image"

    def __init__(self, image_id: str, reason: str) -> None:
        self.image_id, self.reason = image_id, reason
        super().__init__(f"image {image_id!r} cannot be read: {reason}")


class DecoderMissingError(EnsemblesError):
    """The asked-for image decoder is an optional dependency that cannot be imported here."""

    code = "decoder_missing"

    def __init__(self, decoder: str, reason: str) -> None:
        self.decoder, self.reason = decoder, reason
        super().__init__(f"decoder: {decoder!r} cannot be used, {reason}; install it, or decode with pillow")


class DatasetChangedError(EnsemblesError):
    """A file is no longer the one that was registered: its prediction would stand under another image's fingerprint."""

    code = "dataset_changed"

    def __init__(self, image_id: str, expected_sha256: str, found: str) -> None:
        self.image_id, self.expected_sha256, self.found = image_id, expected_sha256, found
        super().__init__(
            f"image {image_id!r} changed since it was registered: {found}, registered with sha256 "
            f"{expected_sha256[:12]}…; restore the file, or register the data set anew"
        )


class CheckpointError(EnsemblesError):
    """Root of what can be wrong with a checkpoint file."""

    code = "checkpoint_error"


class CheckpointCorruptError(CheckpointError):
    """The file is truncated, empty, or not a checkpoint at all."""

    code = "checkpoint_corrupt"

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"checkpoint {path!r} cannot be read: {reason}")


class CheckpointUnsafeError(CheckpointError):
    """The file is a pickle that holds more than weights; nothing in it was executed."""

    code = "checkpoint_unsafe"

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(
            f"checkpoint {path!r} holds more than weights and was refused, nothing in it was run: {reason}"
        )


class CheckpointMissingError(CheckpointError):
    """The registered file is no longer there."""

    code = "checkpoint_missing"

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"checkpoint {path!r}: no such file; it was moved or deleted since it was named. Put it back and retry"
        )


class ArchitectureMismatchError(CheckpointError):
    """The file holds another network than was stated."""

    code = "architecture_mismatch"

    def __init__(self, stated: str, found: str, difference: str = "") -> None:
        self.stated, self.found, self.difference = stated, found, difference
        more = f"; for {stated} they have {difference}" if difference else ""
        super().__init__(f"architecture: stated as {stated}, but the file's tensors are those of {found}{more}")


class WeightsUnavailableError(CheckpointError):
    """Published weights that are neither on this machine nor to be had from the network, or of no use."""

    code = "weights_unavailable"

    def __init__(self, weights: str, reason: str) -> None:
        self.weights, self.reason = weights, reason
        super().__init__(f"weights {weights!r} cannot be used: {reason}")


class CheckpointUnrecognisedError(CheckpointError):
    """The tensors fit no known architecture; `seen`, `expected` and `nearest` explain why."""

    code = "checkpoint_unrecognised"

    def __init__(self, seen: str, expected: str, nearest: str | None = None) -> None:
        self.seen, self.expected, self.nearest = seen, expected, nearest
        near = f"; nearest: {nearest}" if nearest else ""
        super().__init__(f"checkpoint fits no known architecture: seen {seen}; expected {expected}{near}")


class CheckpointChangedError(CheckpointError):
    """The file is no longer the one that was registered."""

    code = "checkpoint_changed"

    def __init__(self, path: str, expected_sha256: str, found_sha256: str) -> None:
        self.path, self.expected_sha256, self.found_sha256 = path, expected_sha256, found_sha256
        super().__init__(
            f"checkpoint {path!r} changed since it was registered: sha256 {found_sha256[:12]}…, "
            f"registered {expected_sha256[:12]}…; register the new file under a new name"
        )


class NonFiniteWeightsError(CheckpointError):
    """NaN or infinity among the weights: every prediction would be class 0."""

    code = "nonfinite_weights"

    def __init__(self, tensor: str, count: int) -> None:
        self.tensor, self.count = tensor, count
        super().__init__(f"checkpoint tensor {tensor!r} holds {count} NaN or infinite values")


class NonFiniteOutputError(EnsemblesError):
    """A network answered with NaN or infinity."""

    code = "nonfinite_output"

    def __init__(self, checkpoint: str, image_id: str) -> None:
        self.checkpoint, self.image_id = checkpoint, image_id
        super().__init__(f"checkpoint {checkpoint!r} gave a NaN or infinite class score, first on image {image_id!r}")


class PredictionStoppedError(EnsemblesError):
    """The caller's `should_stop` answered yes; nothing of the range was kept."""

    code = "prediction_stopped"

    def __init__(self, forward_passes: int) -> None:
        self.forward_passes = forward_passes
        super().__init__(f"prediction was stopped by its caller after {forward_passes} forward passes")


class NonFiniteProbsError(EnsemblesError):
    """NaN or infinity among posteriors that were to be fused or scored: no class can be said to lead."""

    code = "nonfinite_probs"

    def __init__(self, subject: str, row: int, count: int) -> None:
        self.subject, self.row, self.count = subject, row, count
        super().__init__(
            f"{subject}: every posterior must be finite; got NaN or infinity in {count} rows, first in row {row}"
        )


class PosteriorsFormatError(EnsemblesError):
    """Posteriors, or a file of them, whose shape, type or values break a rule."""

    code = "posteriors_format"

    def __init__(self, field: str, rule: str, value: object) -> None:
        self.field, self.rule, self.value = field, rule, value
        super().__init__(f"{field}: {rule}; got {value!r}")


class PredictionsFileError(EnsemblesError):
    """A file of predictions that is none, or that does not fit the data set that they are said to be of."""

    code = "predictions_file"

    def __init__(self, name: str, rule: str, value: object) -> None:
        self.name, self.rule, self.value = name, rule, value
        super().__init__(f"{name}: {rule}; got {value if isinstance(value, str) else repr(value)}")


class ClassCountMismatchError(EnsemblesError):
    """A checkpoint whose number of classes is not the data set's."""

    code = "class_count_mismatch"

    def __init__(self, checkpoint: str, checkpoint_classes: int, dataset: str, dataset_classes: int) -> None:
        self.checkpoint, self.checkpoint_classes = checkpoint, checkpoint_classes
        self.dataset, self.dataset_classes = dataset, dataset_classes
        super().__init__(
            f"checkpoint {checkpoint!r} has {checkpoint_classes} classes, data set {dataset!r} has {dataset_classes}; "
            "they must be equal"
        )
