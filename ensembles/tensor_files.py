"""Read weights from files nobody vouches for: nothing in them is run, and no claim of theirs is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import safetensors
import torch
from torch import Tensor

from ensembles.errors import (
    CheckpointCorruptError,
    CheckpointUnrecognisedError,
    CheckpointUnsafeError,
    NonFiniteWeightsError,
)
from ensembles.torch_archive import check_zip, foreign_globals, is_zip
from ensembles.weight_layouts import in_torchvision_layout

#: Fifteen times VGG-19, or one with optimiser state in float64.
MAX_FILE_BYTES = 8 * 2**30

_WEIGHT_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
#: Where training scripts put the state dict beside their optimiser's. The running average of the weights goes first:
#: it is what timm and torchvision report the accuracy of.
_WRAPPER_KEYS = ("state_dict_ema", "model_ema", "ema", "model", "model_state_dict", "state_dict")
_MOST_WRAPPERS = 3
#: Counts the updates of torch's AveragedModel, beside the weights that it averages.
_AVERAGE_COUNTER = "n_averaged"
#: DataParallel, around the network or (as in PyTorch's ImageNet example) around the features, and torch.compile.
_PREFIXES = (("", "_orig_mod."), ("", "module."), ("", "_orig_mod."), ("features.", "module."))


def file_sha256(path: str | Path) -> str:
    """SHA-256 of the file's bytes, 64 hex digits; read in pieces, whatever the size."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from `.safetensors`, or from `.pth` or `.pt` through torch's weights-only unpickler.

    Wrapper keys and prefixes of training scripts are taken off, and weights in other names get torchvision's (see
    `weight_layouts`). The tensors have memory of their own: a later change to the file cannot reach them.

    Returns:
        CPU tensors, float32 whatever the file has, except the integers `num_batches_tracked` and
        `relative_position_index`.

    Raises:
        CheckpointCorruptError: truncated, empty, not a checkpoint, or a tensor that is not plain weights.
        CheckpointUnsafeError: a pickle with more than weights.
        CheckpointUnrecognisedError: readable, but not a mapping of names to tensors.
        NonFiniteWeightsError: NaN or infinity among the weights, in float32.
        OSError: the file is missing or cannot be opened.
    """
    path = Path(path)
    size = path.stat().st_size
    if size == 0:
        _corrupt(path, "the file is empty")
    if size > MAX_FILE_BYTES:
        _corrupt(path, f"{size} bytes, more than the {MAX_FILE_BYTES} allowed")
    tensors = _READERS.get(path.suffix.lower(), _refuse_suffix)(path)
    for name, tensor in tensors.items():
        _check_plain(path, name, tensor)
    # Strides and shared storages let a small file claim any amount of memory.
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > size:
        _corrupt(path, f"its tensors claim {claimed} bytes, the file has {size}")
    weights = {name: _in_float32(tensor) for name, tensor in tensors.items()}
    for name, tensor in weights.items():
        _check_finite(name, tensor)
    return in_torchvision_layout(strip_prefixes(weights))


def strip_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what DataParallel and torch.compile put before every name; a prefix that only some have stays."""
    stripped = dict(tensors)
    for head, prefix in _PREFIXES:
        under = [name for name in stripped if name.startswith(head)]
        if under and all(name.startswith(head + prefix) for name in under):
            stripped = {
                head + name.removeprefix(head + prefix) if name.startswith(head) else name: tensor
                for name, tensor in stripped.items()
            }
    return stripped


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            # What get_tensor returns is the file mapped into memory: a write to the file would change the weights.
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
    except safetensors.SafetensorError as error:
        raise CheckpointCorruptError(str(path), f"not a complete safetensors file ({error})") from error


def _read_pickle(path: Path) -> Mapping[str, Tensor]:
    if is_zip(path):
        check_zip(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes make the unpickler fail in any way
        names = foreign_globals(path)
        if names:
            raise CheckpointUnsafeError(str(path), f"it names {', '.join(names)}") from None
        # Torch's own text goes on to recommend weights_only=False.
        raise CheckpointCorruptError(str(path), f"not a complete torch.save file ({type(error).__name__})") from None
    return _state_dict(content)


def _refuse_suffix(path: Path) -> NoReturn:
    _corrupt(path, f"a checkpoint's name ends in {', '.join(_READERS)}; this one in {path.suffix!r}")


_READERS: dict[str, Callable[[Path], Mapping[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_pickle,
    ".pt": _read_pickle,
}


def _state_dict(content: object) -> Mapping[str, Tensor]:
    for _ in range(_MOST_WRAPPERS):
        if isinstance(content, Mapping):
            inner = (content[key] for key in _WRAPPER_KEYS if isinstance(content.get(key), Mapping))
            content = next(inner, content)
    if not isinstance(content, Mapping):
        raise CheckpointUnrecognisedError(f"a {type(content).__name__}", "a mapping of names to tensors")
    tensors = {name: value for name, value in content.items() if name != _AVERAGE_COUNTER}
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            seen = f"a {type(value).__name__} under {str(name)[:60]!r}"
            raise CheckpointUnrecognisedError(seen, "a mapping of names to tensors")
    return tensors


def _check_plain(path: Path, name: str, tensor: Tensor) -> None:
    def refuse(what: str) -> NoReturn:
        _corrupt(path, f"tensor {name[:60]!r} {what}")

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        refuse("is sparse, quantised or nested; weights are dense")
    if tensor.device.type != "cpu":
        refuse(f"has no data of its own (device {tensor.device.type})")
    # What networks compute of themselves and save all the same; loading compares it with the network's own.
    computed = tensor.dtype == torch.int64 and name.endswith(
        "relative_position_index" if tensor.dim() else "num_batches_tracked"
    )
    if tensor.dtype not in _WEIGHT_TYPES and not computed:
        refuse(f"has type {tensor.dtype}; weights are floating-point")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        refuse(f"of shape {tuple(tensor.shape)} repeats a storage of {tensor.untyped_storage().nbytes()} bytes")


def _in_float32(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype).contiguous()


def _check_finite(name: str, tensor: Tensor) -> None:
    # The extremes see every NaN and infinity, and need no mask as large as the tensor.
    if tensor.numel() and not all(torch.isfinite(extreme) for extreme in torch.aminmax(tensor)):
        raise NonFiniteWeightsError(name, int((~torch.isfinite(tensor)).sum()))


def _corrupt(path: Path, reason: str) -> NoReturn:
    raise CheckpointCorruptError(str(path), reason)
