"""Which architecture a checkpoint holds, told from the names and shapes of its tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor, isqrt

from ensembles.configurations import CONFIGURATIONS, HIDDEN_UNITS, MAX_WIDTH, Architecture, scaled_units
from ensembles.errors import CheckpointUnrecognisedError, SpecError
from ensembles.torchvision_networks import TorchvisionArchitecture
from ensembles.torchvision_table import INTEGER_BUFFERS, find_row

Shapes = Mapping[str, tuple[int, ...]]

#: One learned layer of the features: its index, and its kernel's side (None for batch normalisation).
_Signature = frozenset[tuple[str, int | None]]

_EXPECTED = (
    f"a network of table 1 ({', '.join(CONFIGURATIONS)}), with or without batch norm, in torchvision's, timm's or "
    "Caffe's names, or a classification network of torchvision"
)
_LISTED = 4
_LONGEST_NAME = 60


def recognise_shapes(shapes: Shapes) -> Architecture | TorchvisionArchitecture:
    """Find the architecture whose state dict has exactly these names and shapes; no two have the same.

    A VGG's width is the simplest fraction that gives the channel counts, so that 0.125 and 1/3 come back as they were.
    Torchvision's networks have one width; their crop, which tensors do not tell, is that of their published weights.

    Args:
        shapes: of every tensor. Integers that the network computes of itself may be absent, as batch norm's
            `num_batches_tracked` is from files from before torch 0.4.1.

    Raises:
        CheckpointUnrecognisedError: no architecture fits.
    """
    found = find_row(shapes)
    if found is not None:
        row, classes = found
        try:
            return TorchvisionArchitecture.published(row.network, classes, row.crop)
        except SpecError as error:
            raise CheckpointUnrecognisedError(_summary(shapes), _EXPECTED, f"{row.network}: {error}") from error
    signature = _signature(shapes)
    candidates = {
        _signature(architecture.tensor_shapes()): architecture
        for name in CONFIGURATIONS
        for architecture in (Architecture(name), Architecture(name, batch_norm=True))
    }
    if signature not in candidates:
        closest = max(candidates, key=lambda candidate: len(candidate & signature) - len(candidate ^ signature))
        nearest = candidates[closest]
        message = shape_differences(nearest.tensor_shapes(), shapes, names_only=True) if closest & signature else None
        raise CheckpointUnrecognisedError(
            _summary(shapes),
            _EXPECTED,
            message and f"{nearest.name} (configuration {nearest.configuration}): {message}",
        )
    architecture = _sized(candidates[signature], shapes)
    differences = shape_differences(architecture.tensor_shapes(), shapes)
    if differences:
        raise CheckpointUnrecognisedError(
            _summary(shapes),
            _EXPECTED,
            f"{architecture.name} (configuration {architecture.configuration}): {differences}",
        )
    return architecture


def shape_differences(expected: Shapes, shapes: Shapes, names_only: bool = False) -> str:
    """What keeps tensors of these shapes from loading strictly, in words; empty when nothing does."""
    missing = [name for name in expected if name not in shapes and not name.endswith(INTEGER_BUFFERS)]
    unexpected = [name for name in shapes if name not in expected]
    unequal = [
        f"{name} {_shape(shapes[name])} instead of {_shape(expected[name])}"
        for name in expected
        if not names_only and name in shapes and shapes[name] != expected[name]
    ]
    parts = (("missing", missing), ("unexpected", unexpected), ("shape", unequal))
    return "; ".join(f"{what} {_listed(names)}" for what, names in parts if names)


def _signature(shapes: Shapes) -> _Signature:
    layers: set[tuple[str, int | None]] = set()
    for name, shape in shapes.items():
        part, _, rest = name.partition(".")
        index, _, tensor = rest.partition(".")
        if part == "features" and tensor == "weight" and len(shape) in (1, 4):
            layers.add((index, shape[-1] if len(shape) == 4 else None))
    return frozenset(layers)


def _sized(base: Architecture, shapes: Shapes) -> Architecture:
    """`base` with the width, classes and crop of the tensors."""
    convolutions = [layer for layer in base.plan if layer.kind == "conv"]
    outputs = [(layer.outputs, shapes[f"{layer.name}.weight"][0]) for layer in convolutions]
    linear = [shapes.get(f"classifier.{index}.weight", ()) for index in (0, 3, 6)]
    if not all(len(shape) == 2 and min(shape) > 0 for shape in linear) or not all(count > 0 for _, count in outputs):
        raise CheckpointUnrecognisedError(
            _summary(shapes), _EXPECTED, f"{base.name}: without the three FC layers classifier.0, .3 and .6"
        )
    first, second, last = linear
    width = _simplest_width([*outputs, (HIDDEN_UNITS, first[0]), (HIDDEN_UNITS, second[0])])
    if width is None:
        raise CheckpointUnrecognisedError(
            _summary(shapes), _EXPECTED, f"{base.name}: channel counts that are no common multiple of the paper's"
        )
    side = isqrt(first[1] // outputs[-1][1])
    try:
        return Architecture(base.configuration, base.batch_norm, width, classes=last[0], crop=32 * side)
    except SpecError as error:
        raise CheckpointUnrecognisedError(_summary(shapes), _EXPECTED, f"{base.name}: {error}") from error


def _simplest_width(counts: list[tuple[int, int]]) -> float | None:
    """The width of smallest denominator that turns every base count into the one seen; None if there is none.

    Args:
        counts: (units at width 1, units seen) of each layer.
    """
    half = Fraction(1, 2)
    # Half a unit either way rounds to the same count; a count of 1 stands for anything below, too.
    low = max(Fraction(0) if seen == 1 else (seen - half) / base for base, seen in counts)
    high = min(Fraction(MAX_WIDTH), *((seen + half) / base for base, seen in counts))
    for denominator in range(1, 2 * HIDDEN_UNITS + 1):
        for numerator in range(max(1, ceil(low * denominator)), floor(high * denominator) + 1):
            width = numerator / denominator
            if all(scaled_units(base, width) == seen for base, seen in counts):
                return width
    return None


def _summary(shapes: Shapes) -> str:
    return f"{len(shapes)} tensors: " + _listed([f"{name} {_shape(shape)}" for name, shape in shapes.items()])


def _listed(names: list[str]) -> str:
    shown = ", ".join(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
