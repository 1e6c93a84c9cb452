"""Exceptions: which code each becomes, and whether another try can help."""

from __future__ import annotations

import pytest
import torch

from app.errors import ArtifactDamagedError, DatabaseUnavailableError, NothingToScoreError, StorageFullError
from ensembles.errors import CheckpointChangedError, NonFiniteOutputError
from workers.failures import classify, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (CheckpointChangedError("a.pth", "1" * 64, "2" * 64), "checkpoint_changed", False),
        (NonFiniteOutputError("a", "cat/1.jpg"), "nonfinite_output", False),
        (NothingToScoreError(3, 1), "nothing_to_score", False),
        (ArtifactDamagedError("k", "missing"), "artifact_damaged", True),
        (DatabaseUnavailableError("gone"), "database_unavailable", True),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory", True),
        (MemoryError(), "out_of_memory", True),
        (torch.AcceleratorError("CUDA error: an illegal memory access"), "device_error", True),
        (OSError(5, "Input/output error"), "io_error", True),
        (RuntimeError("cuDNN error"), "runtime_error", True),
        (KeyError("x"), "internal_error", False),
    ],
)
def test_every_error_has_one_code_and_says_whether_to_try_again(error: Exception, code: str, retryable: bool) -> None:
    failure = classify(error)
    assert (failure.code, failure.retryable) == (code, retryable)


def test_the_message_of_a_named_error_is_kept_whole() -> None:
    error = NonFiniteOutputError("a", "cat/1.jpg")
    assert classify(error).message == str(error)


def test_only_the_first_line_of_a_foreign_error_is_kept() -> None:
    assert classify(OSError("disk on fire\nmany more lines")).message == "OSError: disk on fire"


def test_the_allocator_of_the_cpu_is_recognised_though_it_raises_a_plain_runtime_error() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(StorageFullError("/", 1))
