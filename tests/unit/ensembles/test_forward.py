"""One forward pass: always float32 scores, non-finite ones made unmistakable, and the process's switches restored."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ensembles.forward import class_scores, exact_arithmetic
from tests.tiny_nets import tiny_vgg


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_non_finite_score_spoils_all_scores_of_its_image_and_no_other(bad: float) -> None:
    scores = torch.zeros(3, 4)
    scores[1, 2] = bad
    assert class_scores(lambda _: scores, torch.zeros(3, 1, 1, 1)).isnan().all(1).tolist() == [False, True, False]
    score_map = torch.zeros(3, 4, 2, 2)
    score_map[2, 0, 1, 1] = bad
    assert class_scores(lambda _: score_map, torch.zeros(3, 1, 1, 1))[:, 0, 0, 0].isnan().tolist() == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_used_and_scores_are_float32_all_the_same(dtype: str) -> None:
    seen: list[torch.dtype] = []
    network = tiny_vgg()
    network.features[0].register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    half, full = class_scores(network, pixels, dtype), class_scores(network, pixels)
    assert seen == [getattr(torch, dtype), torch.float32]
    assert half.dtype == full.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, atol=0.02, rtol=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_no_graph_is_recorded() -> None:
    linear = nn.Linear(2, 2)

    def network(pixels: Tensor) -> Tensor:
        return linear(pixels.flatten(1))

    assert not class_scores(network, torch.ones(1, 2, 1, 1)).requires_grad


def test_shortcuts_of_float32_are_off_inside_and_as_before_outside() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with exact_arithmetic():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cudnn.benchmark
            assert torch.backends.cudnn.deterministic
            assert torch.backends.cudnn.enabled
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
        with pytest.raises(ZeroDivisionError), exact_arithmetic():
            _ = 1 / 0
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")
