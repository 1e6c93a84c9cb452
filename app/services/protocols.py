"""The named protocols, and the views that each expands to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.errors import NotFoundError
from app.representations.base import ErrorInfo
from app.representations.catalogue import ProtocolDocument
from ensembles.errors import EnsemblesError
from ensembles.protocols import PRESET_SUMMARIES, PRESETS
from ensembles.scales import TrainingScale

#: The crop of the paper's networks, px.
PAPER_CROP = 224


@dataclass(frozen=True)
class Trainee:
    """What of a checkpoint decides its views: the training scale S, and its crop in px."""

    training_scale: TrainingScale
    crop: int = PAPER_CROP


def describe_presets(trainee: Trainee | None = None, scale_step: int | None = None) -> list[ProtocolDocument]:
    """Every preset, expanded for `trainee`; one that does not fit it has an `error` in place of its views.

    Args:
        trainee: None leaves `views` null everywhere.
        scale_step: px, in place of each preset's own.

    Raises:
        SpecError: the step breaks a rule.
    """
    return [describe_preset(name, trainee, scale_step) for name in PRESETS]


def describe_preset(name: str, trainee: Trainee | None = None, scale_step: int | None = None) -> ProtocolDocument:
    """One preset, as `describe_presets` shows it.

    Raises:
        NotFoundError: no such preset.
        SpecError: the step breaks a rule.
    """
    if name not in PRESETS:
        raise NotFoundError("protocol", name, PRESETS)
    protocol = PRESETS[name] if scale_step is None else replace(PRESETS[name], scale_step=scale_step)
    views: list[dict[str, Any]] | None = None
    error: ErrorInfo | None = None
    if trainee is not None:
        try:
            views = [
                {**view.to_dict(), "digest": view.digest}
                for view in protocol.views(trainee.training_scale, trainee.crop)
            ]
        except EnsemblesError as misfit:
            error = ErrorInfo(code=misfit.code, message=str(misfit))
    return ProtocolDocument(
        name=name,
        summary=PRESET_SUMMARIES[name],
        digest=protocol.digest,
        protocol=protocol.to_dict(),
        views=views,
        error=error,
    )
