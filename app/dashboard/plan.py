"""What a request would run, in the numbers that a person decides by."""

from __future__ import annotations

from dataclasses import dataclass

from app.services.planning import Plan, PlannedMember


@dataclass(frozen=True)
class MemberSummary:
    """One checkpoint: its test scales Q in px, its modes, its weight."""

    name: str
    scales: tuple[int, ...]
    modes: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class PlanSummary:
    """The whole request.

    Attributes:
        dataset: its name.
        images: scored images.
        members: in their order.
        image_views: posteriors to be made or found, one an image and view.
        macs: multiply-accumulates if nothing were known before.
    """

    dataset: str
    images: int
    members: tuple[MemberSummary, ...]
    image_views: int
    macs: float


def summarise(plan: Plan) -> PlanSummary:
    """Add a plan up."""
    views = [view for member in plan.members for view in member.views]
    return PlanSummary(
        plan.dataset.name,
        plan.images,
        tuple(map(_member, plan.members)),
        sum(view.stop for view in views),
        sum(view.stop * view.macs_per_image for view in views),
    )


def _member(member: PlannedMember) -> MemberSummary:
    scales = tuple(sorted({planned.view.scale for planned in member.views}))
    return MemberSummary(member.checkpoint.name, scales, member.protocol.modes, member.weight)
