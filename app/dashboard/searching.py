"""The result of a search as its page shows it: fusions by name, the way into the builder, commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from app.dashboard.charts import MODE_NAMES
from app.dashboard.formatting import scales as scales_text
from app.representations.ensembles import SearchRequest
from app.representations.searches import FusedMemberDocument, FusionDocument

#: The largest weight of the builder's sliders.
MAX_WEIGHT = 100

#: Margin of the cheapest that is good enough where `softvote ensemble search` is told none.
CLI_WITHIN = "0.2"

#: A unit as a fusion names it: checkpoint, test scales, mode.
UnitName = tuple[str, tuple[int, ...], str]


@dataclass(frozen=True)
class ShownFusion:
    """A fusion, what its members are called, their shares, and the builder's weights for it.

    Attributes:
        document: of the search.
        names: of the members.
        shares: of the members, fractions with sum 1.
        builder: a whole weight for every unit of the evaluation; None where its units cannot be told apart.
        exact: whether the builder's weights have exactly the ratios of the fusion's.
    """

    document: FusionDocument
    names: tuple[str, ...]
    shares: tuple[float, ...]
    builder: tuple[int, ...] | None
    exact: bool


def shown(over: str, fusion: FusionDocument, units: Sequence[UnitName]) -> ShownFusion:
    """A fusion of a search.

    Args:
        over: what was fused.
        fusion: of a search.
        units: of the evaluation, in their order.
    """
    weights = [member.weight for member in fusion.members]
    whole, exact = whole_weights(weights)
    places = {unit: place for place, unit in enumerate(units)}
    builder = None
    if len(places) == len(units):
        row = [0] * len(units)
        for member, weight in zip(fusion.members, whole, strict=True):
            row[places[unit_name(member)]] = weight
        builder = tuple(row)
    total = sum(weights)
    return ShownFusion(
        fusion,
        tuple(member_name(member, over) for member in fusion.members),
        tuple(weight / total for weight in weights),
        builder,
        exact,
    )


def unit_name(member: FusedMemberDocument) -> UnitName:
    """What tells units apart."""
    return member.checkpoint, tuple(member.scales), member.mode


def member_name(member: FusedMemberDocument, over: str) -> str:
    """A unit in the words of a page: as much as tells it from others of its kind."""
    if over == "checkpoints":
        return member.checkpoint
    mode = MODE_NAMES.get(member.mode, member.mode)
    return (
        f"{member.checkpoint} {mode}" if over == "modes" else f"{member.checkpoint} {mode} {scales_text(member.scales)}"
    )


def whole_weights(weights: Sequence[float]) -> tuple[tuple[int, ...], bool]:
    """Weights above 0 as whole numbers from 1 to 100, and whether their ratios are exactly the same."""
    largest = max(weights)
    if largest <= MAX_WEIGHT and all(weight.is_integer() for weight in weights):
        times = MAX_WEIGHT // int(largest)
        return tuple(int(weight) * times for weight in weights), True
    return tuple(max(1, round(MAX_WEIGHT * weight / largest)) for weight in weights), False


def cli_command(evaluation_id: str, request: SearchRequest) -> str:
    """The search for a shell."""
    words = [f"softvote ensemble search {shlex.quote(evaluation_id)}"]
    for name, default in SearchRequest.model_fields.items():
        value = getattr(request, name)
        if name == "within":
            # The command line has one default for points and nats.
            value = f"{value if request.metric == 'nll' else 100 * value:g}"
            usual = CLI_WITHIN
        else:
            usual = default.default
        if value != usual:
            words.append(f"--{name} {value}")
    return " \\\n  ".join(words)
