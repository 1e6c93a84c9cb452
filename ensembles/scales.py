"""Training scale S, test scale Q, and the integer geometry between them (paper sections 2.1, 3.1, 3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ensembles.errors import Problem, SpecError

LongSide = Literal["trunc", "round", "ceil"]
PoolRounding = Literal["floor", "ceil"]

#: Largest side accepted anywhere, px; beyond it a typing error is likelier than a wish.
MAX_SIDE = 4096


@dataclass(frozen=True, order=True)
class TrainingScale:
    """The training scale S: smaller image side in px, fixed (`smallest == largest`) or jittered between the two."""

    smallest: int
    largest: int

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.largest <= MAX_SIDE:
            rule = f"a training scale is S or Smin-Smax in px with 1 <= Smin <= Smax <= {MAX_SIDE}"
            raise SpecError([Problem("training_scale", rule, (self.smallest, self.largest))])

    @classmethod
    def parse(cls, value: str | int | Sequence[int]) -> TrainingScale:
        """Read `256`, `"256"`, `"256-512"` or `[256, 512]`.

        Raises:
            SpecError: the value has none of these forms.
        """
        if isinstance(value, str):
            match = re.fullmatch(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", value)
            if match:
                return cls(int(match[1]), int(match[2] or match[1]))
        elif isinstance(value, int):
            return cls(value, value)
        elif len(value) in (1, 2) and all(isinstance(side, int) for side in value):
            return cls(value[0], value[-1])
        raise SpecError(
            [Problem("training_scale", 'a training scale is "S" or "Smin-Smax" in px, such as 256 or 256-512', value)]
        )

    @property
    def jittered(self) -> bool:
        """Whether S was sampled anew for each training image."""
        return self.smallest != self.largest

    def single_scale(self) -> int:
        """Q of single-scale evaluation: S when fixed, 0.5 (Smin + Smax) when jittered (section 4.1)."""
        return (self.smallest + self.largest) // 2

    def multi_scale(self, step: int = 32) -> tuple[int, int, int]:
        """The three Q of multi-scale evaluation (section 4.2).

        S - step, S, S + step when fixed; Smin, 0.5 (Smin + Smax), Smax when jittered.

        Args:
            step: px; the paper's 32 belongs to crop 224, small networks need a smaller one.
        """
        if self.jittered:
            return self.smallest, self.single_scale(), self.largest
        return self.smallest - step, self.smallest, self.smallest + step

    def __str__(self) -> str:
        return f"[{self.smallest};{self.largest}]" if self.jittered else str(self.smallest)


def resized_size(width: int, height: int, scale: int, long_side: LongSide = "trunc") -> tuple[int, int]:
    """Size after isotropic rescaling so that the smaller side is exactly `scale` px.

    The paper leaves the rounding of the longer side open; "trunc" is torchvision's, "ceil" the authors' MATLAB demo's.
    Integer arithmetic throughout: a float product can miss by one.

    Returns:
        (width, height), px.
    """
    short, long = min(width, height), max(width, height)
    product = scale * long
    if long_side == "trunc":
        other = product // short
    elif long_side == "round":
        other = (2 * product + short) // (2 * short)
    else:
        other = -(-product // short)
    return (scale, other) if width <= height else (other, scale)


def score_map_side(side: int, crop: int = 224, pool_rounding: PoolRounding = "floor") -> int:
    """Positions of the class score map along one image side: five halvings, then a kernel of crop / 32 without padding.

    Args:
        side: image side, px.
        crop: training crop, px, a multiple of 32; the first FC layer becomes a (crop / 32)-sized convolution.
        pool_rounding: how 2x2/2 max pooling treats an odd side; Caffe rounds up.

    Returns:
        The number of positions; 0 or less where the image is too small.
    """
    pooled = side // 32 if pool_rounding == "floor" else -(-side // 32)
    return pooled - crop // 32 + 1
