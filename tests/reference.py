"""A slow second opinion on every posterior: one image, one view, one crop at a time, in NumPy and float64.

Written from the paper and the protocol page alone. It shares no code with the library: own geometry, own resizing
without antialias, own convolutions, own softmax. Only decoding and antialiased resizing are Pillow's in both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]


def posterior(network: ReferenceNetwork, path: Path, view: Mapping[str, Any]) -> Array:
    """(K,) posterior of one image under one view, given as the fields of a protocol view."""
    pixels = resized(Image.open(path).convert("RGB"), view)
    planes = network.preprocess(pixels)
    posteriors = []
    if view["mode"] == "dense":
        posteriors.append(dense_posterior(network, planes, view))
        if view["hflip"]:
            posteriors.append(dense_posterior(network, planes[:, :, ::-1], view))
        return np.mean(posteriors, axis=0)
    for left, top in corners(planes.shape[2], planes.shape[1], network.crop, view["crop_grid"]):
        square = planes[:, top : top + network.crop, left : left + network.crop]
        posteriors.append(softmax(network.crop_scores(square)))
        if view["hflip"]:
            posteriors.append(softmax(network.crop_scores(square[:, :, ::-1])))
    return np.mean(posteriors, axis=0)


def dense_posterior(network: ReferenceNetwork, planes: Array, view: Mapping[str, Any]) -> Array:
    score_map = network.score_map(planes, ceil=view["pool_rounding"] == "ceil")
    positions = [score_map[:, i, j] for i in range(score_map.shape[1]) for j in range(score_map.shape[2])]
    if view["score_pooling"] == "logits":
        return softmax(sum(positions) / len(positions))
    posteriors = [softmax(scores) for scores in positions]
    if view["score_pooling"] == "probs":
        return sum(posteriors) / len(posteriors)
    highest = np.max(posteriors, axis=0)
    return highest / highest.sum()


def softmax(scores: Array) -> Array:
    powers = [math.exp(score - max(scores)) for score in scores]
    return np.array(powers) / sum(powers)


# ---- geometry ----


def resized(image: Image.Image, view: Mapping[str, Any]) -> Array:
    """(H, W, 3) uint8."""
    longer = Fraction(max(image.size) * view["scale"], min(image.size))
    rounding = {"trunc": math.floor, "ceil": math.ceil, "round": lambda side: math.floor(side + Fraction(1, 2))}
    longer = rounding[view["long_side"]](longer)
    portrait = image.width <= image.height
    size = (view["scale"], longer) if portrait else (longer, view["scale"])
    if view["resize"] == "nearest":
        return np.asarray(image.resize(size, Image.Resampling.NEAREST))
    if view["antialias"]:
        return np.asarray(image.resize(size, getattr(Image.Resampling, view["resize"].upper())))
    values = np.asarray(image).astype(float)
    for axis, length in ((0, size[1]), (1, size[0])):
        values = interpolated(values, axis, length, view["resize"])
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def interpolated(values: Array, axis: int, length: int, kernel: str) -> Array:
    """Interpolate along one axis at half-pixel centres, the border repeated; bicubic with a = -0.75."""
    rows = np.moveaxis(values, axis, 0)
    result = np.empty((length, *rows.shape[1:]))
    for out in range(length):
        place = (out + 0.5) * len(rows) / length - 0.5
        if kernel == "bilinear":
            place = max(place, 0.0)
        first = math.floor(place)
        taps = (0, 1) if kernel == "bilinear" else (-1, 0, 1, 2)
        total = 0.0
        for tap in taps:
            distance = abs(place - (first + tap))
            if kernel == "bilinear":
                weight = 1 - distance
            elif distance <= 1:
                weight = 1.25 * distance**3 - 2.25 * distance**2 + 1
            else:
                weight = -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
            total = total + weight * rows[min(max(first + tap, 0), len(rows) - 1)]
        result[out] = total
    return np.moveaxis(result, 0, axis)


def corners(width: int, height: int, crop: int, grid: str | int) -> list[tuple[int, int]]:
    """(left, top) of each crop."""
    right, bottom = width - crop, height - crop
    if grid == "center":
        return [(round(right / 2), round(bottom / 2))]
    if grid == "ten":
        middle = (round(right / 2), round(bottom / 2))
        return [(0, 0), (right, 0), (0, bottom), (right, bottom), middle]
    return [(left, top) for top in grid_line(bottom, grid) for left in grid_line(right, grid)]


def grid_line(slack: int, count: int) -> list[int]:
    """Equally spaced, the second half the mirror image of the first."""
    places = []
    for i in range(count):
        mirror = count - 1 - i
        places.append(math.floor(Fraction(i * slack, count - 1)) if i <= mirror else slack - places[mirror])
    return places


# ---- the network ----


class ReferenceNetwork:
    """A VGG network from its modules' settings and tensors; its arithmetic is NumPy's, in float64."""

    def __init__(self, network: Any, preprocessing: Mapping[str, Any]) -> None:
        self.crop = network.architecture.crop
        self.preprocessing = preprocessing
        tensors = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
        kinds = [type(module).__name__ for module in network.features]
        self.features = [
            (kind, {name.split(".")[2]: t for name, t in tensors.items() if name.startswith(f"features.{index}.")})
            for index, kind in enumerate(kinds)
        ]
        self.linears = [(tensors[f"classifier.{i}.weight"], tensors[f"classifier.{i}.bias"]) for i in (0, 3, 6)]

    def preprocess(self, pixels: Array) -> Array:
        """(H, W, 3) uint8 -> (3, H, W)."""
        rules = self.preprocessing
        planes = []
        for channel in (0, 1, 2) if rules["channel_order"] == "rgb" else (2, 1, 0):
            plane = pixels[:, :, channel].astype(float) / (255 if rules["value_range"] == 1 else 1)
            planes.append((plane - rules["mean"][len(planes)]) / rules["std"][len(planes)])
        return np.stack(planes)

    def crop_scores(self, planes: Array) -> Array:
        """(K,) scores of one crop: convolutions, then FC layers on the flattened features."""
        return self._classify(self._features(planes, ceil=False))

    def score_map(self, planes: Array, *, ceil: bool) -> Array:
        """(K, h, w): the FC layers at each place of the feature map where their window fits."""
        features, side = self._features(planes, ceil=ceil), self.crop // 32
        rows, columns = features.shape[1] - side + 1, features.shape[2] - side + 1
        return np.stack(
            [
                np.stack([self._classify(features[:, i : i + side, j : j + side]) for j in range(columns)], axis=-1)
                for i in range(rows)
            ],
            axis=-2,
        )

    def _classify(self, features: Array) -> Array:
        units = features.ravel()
        for index, (weight, bias) in enumerate(self.linears):
            units = weight @ units + bias
            if index < 2:
                units = np.maximum(units, 0)
        return units

    def _features(self, planes: Array, *, ceil: bool) -> Array:
        values = planes
        for kind, tensors in self.features:
            if kind == "Conv2d":
                values = convolved(values, tensors["weight"], tensors["bias"])
            elif kind == "BatchNorm2d":
                mean, variance = tensors["running_mean"], tensors["running_var"]
                scale = tensors["weight"] / np.sqrt(variance + 1e-5)
                values = (values - mean[:, None, None]) * scale[:, None, None] + tensors["bias"][:, None, None]
            elif kind == "ReLU":
                values = np.maximum(values, 0)
            elif kind == "LocalResponseNorm":
                values = normalised(values)
            elif kind == "MaxPool2d":
                values = pooled(values, ceil=ceil)
            else:
                raise AssertionError(kind)
        return values


def convolved(planes: Array, weight: Array, bias: Array) -> Array:
    """Stride 1, zero padding that keeps the size."""
    kernel, (_, height, width) = weight.shape[-1], planes.shape
    pad = kernel // 2
    padded = np.pad(planes, ((0, 0), (pad, pad), (pad, pad)))
    result = np.zeros((len(weight), height, width)) + bias[:, None, None]
    for i in range(kernel):
        for j in range(kernel):
            result += np.tensordot(weight[:, :, i, j], padded[:, i : i + height, j : j + width], axes=1)
    return result


def pooled(planes: Array, *, ceil: bool) -> Array:
    """2x2/2 maximum; where a side is odd its last row or column is dropped, or with `ceil` pooled alone."""
    rounding = math.ceil if ceil else math.floor
    rows, columns = rounding(planes.shape[1] / 2), rounding(planes.shape[2] / 2)
    result = np.empty((len(planes), rows, columns))
    for i in range(rows):
        for j in range(columns):
            result[:, i, j] = planes[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
    return result


def normalised(planes: Array) -> Array:
    """Krizhevsky's local response normalisation with k = 2, n = 5, alpha = 1e-4, beta = 0.75."""
    result = np.empty_like(planes)
    for channel in range(len(planes)):
        nearby = planes[max(0, channel - 2) : channel + 3]
        result[channel] = planes[channel] / (2 + 1e-4 * (nearby**2).sum(axis=0)) ** 0.75
    return result
