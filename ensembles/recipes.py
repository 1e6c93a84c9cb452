"""How the authors of some weights prepared images: what a protocol may leave to the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from ensembles.specs import Preprocessing, Resize


@dataclass(frozen=True)
class Recipe:
    """The evaluation that belongs to a network's published weights, beside its crop.

    Attributes:
        resize: smaller image side before the centre crop, px.
        interpolation: of that rescaling.
        preprocessing: of the pixels, where neither the request nor the file says another.
    """

    resize: int = 256
    interpolation: Resize = "bilinear"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
