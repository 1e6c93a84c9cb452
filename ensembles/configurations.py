"""Table 1 of the paper as data, and the exact shapes, parameters and cost of the networks it describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ensembles.errors import Problem, ScaleTooSmallError, SpecError
from ensembles.layers import Layer, LayerKind, LayerRow
from ensembles.recipes import Recipe
from ensembles.scales import MAX_SIDE, PoolRounding
from ensembles.specs import ViewSpec, is_whole_number

HIDDEN_UNITS = 4096
MAX_CLASSES = 100_000
MAX_WIDTH = 4.0


@dataclass(frozen=True)
class Convolution:
    """conv<kernel>-<channels> of table 1: stride 1, zero padding that keeps the size, ReLU after it."""

    kernel: int
    channels: int


@dataclass(frozen=True)
class Configuration:
    """One column of table 1. A 2x2 max pool follows every block, and three FC layers the last.

    Attributes:
        name: the paper's letter.
        model: base name of the network, torchvision's where it has one.
        blocks: the convolutions, block by block.
        lrn: local response normalisation after the first convolution's ReLU.
    """

    name: str
    model: str
    blocks: tuple[tuple[Convolution, ...], ...]
    lrn: bool = False


def _blocks(*rows: str) -> tuple[tuple[Convolution, ...], ...]:
    return tuple(tuple(Convolution(*map(int, token.split("-"))) for token in row.split()) for row in rows)


_BLOCKS_A = _blocks("3-64", "3-128", "3-256 3-256", "3-512 3-512", "3-512 3-512")

#: "B-5x5" is the shallow network of section 2.3: each pair of 3x3 convolutions of B as one 5x5.
CONFIGURATIONS: dict[str, Configuration] = {
    configuration.name: configuration
    for configuration in (
        Configuration("A", "vgg11", _BLOCKS_A),
        Configuration("A-LRN", "vgg-a-lrn", _BLOCKS_A, lrn=True),
        Configuration("B", "vgg13", _blocks("3-64 3-64", "3-128 3-128", "3-256 3-256", "3-512 3-512", "3-512 3-512")),
        Configuration("B-5x5", "vgg-b-5x5", _blocks("5-64", "5-128", "5-256", "5-512", "5-512")),
        Configuration(
            "C",
            "vgg-c",
            _blocks("3-64 3-64", "3-128 3-128", "3-256 3-256 1-256", "3-512 3-512 1-512", "3-512 3-512 1-512"),
        ),
        Configuration(
            "D",
            "vgg16",
            _blocks("3-64 3-64", "3-128 3-128", "3-256 3-256 3-256", "3-512 3-512 3-512", "3-512 3-512 3-512"),
        ),
        Configuration(
            "E",
            "vgg19",
            _blocks(
                "3-64 3-64",
                "3-128 3-128",
                "3-256 3-256 3-256 3-256",
                "3-512 3-512 3-512 3-512",
                "3-512 3-512 3-512 3-512",
            ),
        ),
    )
}


def scaled_units(base: int, width: float) -> int:
    """Channels or FC units of a layer that has `base` of them at width 1."""
    return max(1, round(base * width))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Architecture:
    """A concrete network: a configuration with its width, classes and training crop.

    Attributes:
        configuration: a key of `CONFIGURATIONS`.
        batch_norm: batch normalisation after every convolution (torchvision's `_bn` networks; not in the paper).
        width: factor on the channels of every convolution and on the FC units, above 0.
        classes: outputs of the last layer.
        crop: side of the training crop, px, a multiple of 32; the first FC layer sees (crop / 32)^2 positions.

    Raises:
        SpecError: a field breaks its rule; all of them are listed.
    """

    configuration: str
    batch_norm: bool = False
    width: float = 1.0
    classes: int = 1000
    crop: int = 224

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise SpecError(problems)
        # 1 and 1.0 have different JSON, hence different digests.
        object.__setattr__(self, "width", float(self.width))

    def _problems(self) -> list[Problem]:
        values: dict[str, object] = asdict(self)
        width = self.width
        rules = {
            "configuration": (self.configuration in tuple(CONFIGURATIONS), f"one of {', '.join(CONFIGURATIONS)}"),
            "batch_norm": (isinstance(values["batch_norm"], bool), "true or false"),
            "width": (_is_number(width) and 0 < width <= MAX_WIDTH, f"a number above 0 and at most {MAX_WIDTH:g}"),
            "classes": (
                is_whole_number(self.classes) and 1 <= self.classes <= MAX_CLASSES,
                f"a whole number from 1 to {MAX_CLASSES}",
            ),
            "crop": (
                is_whole_number(self.crop) and self.crop % 32 == 0 and 32 <= self.crop <= MAX_SIDE,
                f"a multiple of 32 px from 32 to {MAX_SIDE}",
            ),
        }
        return [Problem(f"architecture.{name}", rule, values[name]) for name, (kept, rule) in rules.items() if not kept]

    @property
    def name(self) -> str:
        """Torchvision's name where it has the network (vgg16, vgg16_bn), else one in the same style (vgg-c)."""
        return CONFIGURATIONS[self.configuration].model + ("_bn" if self.batch_norm else "")

    @property
    def channels(self) -> tuple[tuple[int, ...], ...]:
        """Output channels of the convolutions, block by block."""
        blocks = CONFIGURATIONS[self.configuration].blocks
        return tuple(tuple(scaled_units(conv.channels, self.width) for conv in block) for block in blocks)

    @property
    def hidden(self) -> int:
        """Units of the two hidden FC layers."""
        return scaled_units(HIDDEN_UNITS, self.width)

    @cached_property
    def plan(self) -> tuple[Layer, ...]:
        """Every module of the network in order, named as in torchvision."""
        return (*self._features(), *self._classifier())

    def _features(self) -> Iterator[Layer]:
        configuration = CONFIGURATIONS[self.configuration]
        index, inputs = 0, 3

        def layer(kind: LayerKind, outputs: int, kernel: int = 1) -> Layer:
            nonlocal index, inputs
            made = Layer(f"features.{index}", kind, inputs, outputs, kernel)
            index, inputs = index + 1, outputs
            return made

        for block, widths in zip(configuration.blocks, self.channels, strict=True):
            for convolution, outputs in zip(block, widths, strict=True):
                first = index == 0
                yield layer("conv", outputs, convolution.kernel)
                if self.batch_norm:
                    yield layer("batch_norm", outputs)
                yield layer("relu", outputs)
                if first and configuration.lrn:
                    yield layer("lrn", outputs)
            yield layer("max_pool", widths[-1])

    def _classifier(self) -> Iterator[Layer]:
        hidden = self.hidden
        yield Layer("classifier.0", "linear", self.channels[-1][-1], hidden, self.crop // 32)
        yield Layer("classifier.1", "relu", hidden, hidden)
        yield Layer("classifier.2", "dropout", hidden, hidden)
        yield Layer("classifier.3", "linear", hidden, hidden)
        yield Layer("classifier.4", "relu", hidden, hidden)
        yield Layer("classifier.5", "dropout", hidden, hidden)
        yield Layer("classifier.6", "linear", hidden, self.classes)

    def _walk(self, height: int, width: int, pool_rounding: PoolRounding) -> Iterator[tuple[Layer, int, int]]:
        """Each layer with the height and width of its output, px, in dense mode."""
        up = pool_rounding == "ceil"
        for layer in self.plan:
            if layer.kind == "max_pool":
                height, width = (height + up) // 2, (width + up) // 2
            elif layer.kind == "linear":
                height, width = height - layer.kernel + 1, width - layer.kernel + 1
            yield layer, height, width

    @property
    def recipe(self) -> Recipe:
        """Torchvision's evaluation of its VGG weights, all of one recipe."""
        return Recipe()

    @property
    def dense_refusal(self) -> str | None:
        """None: FC layers become convolutions (section 3.2)."""
        return None

    def view_refusal(self, view: ViewSpec) -> str | None:  # noqa: ARG002 - other families look at it
        """None: every view can be."""
        return self.dense_refusal

    @property
    def parameters(self) -> int:
        """Learned numbers; running statistics of batch norm are not counted."""
        return sum(layer.parameters for layer in self.plan)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the complete state dict, buffers included."""
        return {
            f"{layer.name}.{name}": shape
            for layer in self.plan
            for name, shape in {**layer.tensor_shapes(), **layer.buffer_shapes()}.items()
        }

    def score_map_size(self, height: int, width: int, pool_rounding: PoolRounding = "floor") -> tuple[int, int]:
        """(height, width) of the class score map of an image.

        Args:
            height: image height, px.
            width: image width, px.
            pool_rounding: of 2x2/2 max pooling where a side is odd; Caffe rounds up.

        Raises:
            ScaleTooSmallError: the image is so small that the map would be empty.
        """
        *_, (_, rows, columns) = self._walk(height, width, pool_rounding)
        if rows < 1 or columns < 1:
            raise ScaleTooSmallError(min(height, width), self.crop, self.name)
        return rows, columns

    def macs(self, height: int, width: int, pool_rounding: PoolRounding = "floor") -> int:
        """Multiply-accumulates of one dense pass; at crop x crop px equal to those of the FC network.

        Raises:
            ScaleTooSmallError: the image is so small that the score map would be empty.
        """
        self.score_map_size(height, width, pool_rounding)
        return sum(
            layer.macs_per_position * rows * columns
            for layer, rows, columns in self._walk(height, width, pool_rounding)
        )

    def layers(self) -> tuple[LayerRow, ...]:
        """The layer table of the FC network at its crop, one row a module."""
        return tuple(
            LayerRow(
                layer.name,
                f"conv {layer.kernel}x{layer.kernel}" if layer.kind == "conv" else layer.kind.replace("_", " "),
                (layer.outputs, rows, columns) if layer.name.startswith("features.") else (layer.outputs,),
                layer.parameters,
            )
            for layer, rows, columns in self._walk(self.crop, self.crop, "floor")
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """The inverse of `to_dict`."""
        return cls(**data)
