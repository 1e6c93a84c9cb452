"""The launch form: fields to an evaluation request, and an evaluation to the fields that would ask for it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from werkzeug.datastructures import MultiDict

from app.dashboard.forms import Form, sentence
from app.representations.evaluations import EvaluationDocument
from app.representations.requests import EvaluationRequest
from ensembles.canonical import digest
from ensembles.errors import SpecError
from ensembles.protocols import IMPORTED, PRESET_SUMMARIES, FusionSpec, Protocol
from ensembles.scales import LongSide, PoolRounding
from ensembles.specs import Decoder, Dtype, Exif, Resize, ScorePooling

CUSTOM = "custom"
DEFAULT_PROTOCOL = EvaluationRequest.model_fields["protocol"].default


@dataclass(frozen=True)
class Choice:
    """A custom protocol field with fixed values: (value, how the page calls it); the first is the default."""

    name: str
    label: str
    hint: str
    values: tuple[tuple[str, str], ...]


def _plain(name: str, label: str, hint: str, values: Iterable[str]) -> Choice:
    return Choice(name, label, hint, tuple((value, value.replace("_", " ")) for value in values))


CHOICES: tuple[Choice, ...] = (
    Choice(
        "modes",
        "Modes",
        "dense runs the network over the whole image, multi-crop over crops of it",
        (("dense", "dense"), ("crops", "multi-crop"), ("dense crops", "dense and multi-crop")),
    ),
    Choice(
        "crop_grid",
        "Crops",
        "where multi-crop takes its crops",
        (
            ("5", "5 × 5 grid"),
            *((str(n), f"{n} × {n} grid") for n in (2, 3, 4, 6, 7, 8, 9)),
            ("center", "one, centred"),
            ("ten", "corners and centre"),
        ),
    ),
    Choice("hflip", "Horizontal flip", "average with the mirrored image", (("true", "yes"), ("false", "no"))),
    _plain("score_pooling", "Score pooling", "over the class score map of a dense pass", get_args(ScorePooling)),
    _plain("resize", "Resize", "interpolation of the rescaling", (*get_args(Resize), "recipe")),
    Choice("antialias", "Antialias", "low-pass filter when shrinking", (("true", "yes"), ("false", "no"))),
    _plain("long_side", "Longer side", "rounding after rescaling", get_args(LongSide)),
    _plain("pool_rounding", "Pool rounding", "of an odd side; Caffe rounds up", get_args(PoolRounding)),
    _plain("decoder", "Decoder", "of JPEG files", get_args(Decoder)),
    _plain("exif", "EXIF orientation", "the paper's software ignored it", get_args(Exif)),
    _plain("dtype", "Arithmetic", "of the network", get_args(Dtype)),
)

SCALE_RULES: tuple[tuple[str, str], ...] = (
    ("multi", "three, from S"),
    ("single", "one, from S"),
    ("recipe", "one, the weights' own"),
    ("list", "listed"),
)


class LaunchForm(Form):
    """What an evaluation should be. Problems of the n-th ticked checkpoint stand at `checkpoints.n`."""

    labels: ClassVar[Mapping[str, str]] = {
        "dataset": "Data set",
        "checkpoints": "Checkpoints",
        "fusion.weights": "Weights",
        "fusion.rule": "Fusion rule",
        "fusion.temperature": "Temperature",
        "protocol": "Protocol",
        "protocol.scales": "Test scales Q",
        "protocol.scale_step": "Scale step",
        **{f"protocol.{choice.name}": choice.label for choice in CHOICES},
        "limit": "Limit",
        "priority": "Priority",
        "unreadable": "Unreadable images",
    }

    @property
    def ticked(self) -> list[str]:
        """Names of the ticked checkpoints, in order."""
        return self.values.getlist("checkpoint")

    def position(self, checkpoint: str) -> int | None:
        """Place of a checkpoint among the ticked ones."""
        return self.ticked.index(checkpoint) if checkpoint in self.ticked else None

    def weight(self, checkpoint: str) -> str:
        """The weight that was typed for a checkpoint."""
        return self[f"weight.{checkpoint}"]

    @property
    def protocol(self) -> str:
        """The chosen preset, or "custom"."""
        return self["protocol"] or str(DEFAULT_PROTOCOL)

    def known(self, name: str) -> bool:
        """Whether the form has this field, ticked checkpoints included."""
        return super().known(name) or self._ticked_at(name) is not None

    def label(self, name: str) -> str:
        """How the page calls a field; a ticked checkpoint by its name."""
        position = self._ticked_at(name)
        return super().label(name) if position is None else self.ticked[position]

    def order(self, name: str) -> int:
        """Place of a field on the page."""
        return super().order("checkpoints" if self._ticked_at(name) is not None else name)

    def request(self) -> EvaluationRequest | None:
        """What was asked for; None, with problems, where the fields alone say no."""
        asked = self.draft()
        return None if self.problems else asked

    def draft(self) -> EvaluationRequest | None:
        """The same with defaults in place of fields that cannot be read, so that the rest can be checked meanwhile.

        None without a data set or checkpoints.
        """
        body = {
            "dataset": self["dataset"],
            "checkpoints": self.ticked,
            "protocol": self._protocol() if self.protocol == CUSTOM else self.protocol,
            "fusion": self._fusion(),
            "limit": self._whole_number("limit", "a whole number of at least 1, or nothing for every image", low=1),
            "force": self["force"] == "true",
            "priority": self._whole_number("priority", "a whole number from 0 to 9", high=9, fallback=5),
            "unreadable": "skip" if self["unreadable"] == "skip" else "fail",
        }
        self.require(dataset="choose a data set")
        if not self.ticked:
            self.add("checkpoints", "tick at least one checkpoint")
        return self.read(EvaluationRequest, body) if self["dataset"] and self.ticked else None

    def submission_key(self, body: EvaluationRequest) -> str | None:
        """The Idempotency-Key: a double click starts one evaluation, the form edited after going back another."""
        shown = self["submission"]
        if not re.fullmatch(r"[\w-]{1,64}", shown, re.ASCII):
            return None
        return f"{shown}-{digest(body.model_dump(mode='json'))[:16]}"

    def _fusion(self) -> dict[str, Any]:
        heat = self["fusion.temperature"]
        temperature: float | None = None
        if heat:
            try:
                temperature = float(heat)
            except ValueError:
                self.add("fusion.temperature", "a number, or nothing")
        return {"rule": self["fusion.rule"] or "mean", "weights": self._weights(), "temperature": temperature}

    def _ticked_at(self, name: str) -> int | None:
        head, _, position = name.partition(".")
        found = head == "checkpoints" and position.isdecimal() and int(position) < len(self.ticked)
        return int(position) if found else None

    def _whole_number(
        self, name: str, rule: str, *, low: int = 0, high: int = 10**9, fallback: int | None = None
    ) -> int | None:
        """The number in a field; `fallback` where it is empty or, with a problem, where it breaks the rule."""
        text = self[name].strip()
        number = _number(text)
        if number is not None and low <= number <= high:
            return number
        if text:
            self.add(name, f"{rule}; got {text[:80]!r}")
        return fallback

    def _weights(self) -> list[float] | None:
        """One a ticked checkpoint; None where no weight was typed, so that the request stays the plain mean."""
        texts = [self.weight(name).strip() for name in self.ticked]
        if not any(texts):
            return None
        weights = []
        for position, text in enumerate(texts):
            try:
                weights.append(float(text or 1))
            except ValueError:
                self.add(f"checkpoints.{position}", f"a weight is a number of at least 0; got {text!r}")
        return weights if len(weights) == len(texts) else None

    def _protocol(self) -> dict[str, Any]:
        """The custom fields that differ from the defaults."""
        given: dict[str, Any] = {"scales": self._scales()}
        given["scale_step"] = self._whole_number("protocol.scale_step", "a whole number of px", fallback=32)
        for choice in CHOICES:
            text = self[f"protocol.{choice.name}"] or choice.values[0][0]
            given[choice.name] = _typed(choice.name, text)
        try:
            protocol = Protocol.parse(given)
        except SpecError as error:
            for problem in error.problems:
                self.add(f"protocol.{problem.field}", sentence(problem))
            return given
        defaults = Protocol().to_dict()
        return {name: value for name, value in protocol.to_dict().items() if value != defaults[name]}

    def _scales(self) -> str | list[int | str]:
        rule = self["protocol.scales"] or "multi"
        if rule != "list":
            return rule
        texts = self["protocol.scale_list"].replace(",", " ").split()
        numbers = [_number(text) for text in texts]
        return [text if number is None else number for text, number in zip(texts, numbers, strict=True)]


def fields_of(evaluation: EvaluationDocument, limit: int | None) -> MultiDict[str, str]:
    """The fields that would ask for an earlier evaluation again, up to members' own protocols.

    Args:
        evaluation: the earlier one.
        limit: its images, where they were not all of the data set.
    """
    fields: MultiDict[str, str] = MultiDict({"dataset": evaluation.dataset})
    weighted = any(member.weight != 1 for member in evaluation.checkpoints)
    for member in evaluation.checkpoints:
        fields.add("checkpoint", member.checkpoint)
        if weighted:
            fields[f"weight.{member.checkpoint}"] = f"{member.weight:g}"
    for name, value in _protocol_fields(evaluation.protocol):
        fields[name] = value
    fusion = FusionSpec.from_dict(evaluation.fusion)
    fields["fusion.rule"] = fusion.rule
    if fusion.temperature is not None:
        fields["fusion.temperature"] = f"{fusion.temperature:g}"
    if limit is not None:
        fields["limit"] = str(limit)
    fields["priority"] = str(evaluation.priority)
    fields["unreadable"] = evaluation.unreadable
    return fields


def _protocol_fields(protocol: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    parsed = Protocol.parse(protocol)
    if parsed.modes == IMPORTED.modes:
        # Of no use to networks, and needed by nothing else.
        return
    if parsed.name in PRESET_SUMMARIES:
        yield "protocol", parsed.name or ""
        return
    yield "protocol", CUSTOM
    listed = isinstance(parsed.scales, tuple)
    yield "protocol.scales", "list" if listed else str(parsed.scales)
    if listed:
        yield "protocol.scale_list", ", ".join(map(str, parsed.scales))
    yield "protocol.scale_step", str(parsed.scale_step)
    values = parsed.to_dict()
    for choice in CHOICES:
        yield f"protocol.{choice.name}", _text(values[choice.name])


def _typed(name: str, text: str) -> object:
    """A select's text as the JSON value that it stands for."""
    if name == "modes":
        return text.split()
    if text in ("true", "false"):
        return text == "true"
    number = _number(text) if name == "crop_grid" else None
    return text if number is None else number


def _number(text: str) -> int | None:
    """A whole number of at most nine digits; None for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(value) if isinstance(value, list) else str(value)
