"""Which device a worker computes on, and how it is set up so that equal work gives equal bits."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

from app.errors import ConfigurationError
from ensembles.errors import Problem


def select_device(name: str) -> torch.device:
    """The device called `name`: "cpu", "cuda" or "cuda:<number>".

    Raises:
        ConfigurationError: no such kind of device, or none of that number here.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigurationError([Problem("--device", "cpu, cuda or cuda:NUMBER", name)])
    device = torch.device(name if name != "cuda" else "cuda:0")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = ", ".join(describe_devices())
        raise ConfigurationError([Problem("--device", f"a device of this machine ({found})", name)])
    return device


def prepare_device(device: torch.device, threads: int) -> None:
    """Set the process up for `device`.

    Args:
        device: where networks run.
        threads: of one operation on the CPU. Posteriors are compared bit for bit only between equal counts.
    """
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)


def usable_threads() -> int:
    """CPUs that this process may run on, or OMP_NUM_THREADS: fewer than the machine has inside most containers."""
    return min(len(os.sched_getaffinity(0)), torch.get_num_threads())


def describe_device(device: torch.device) -> str:
    """The hardware's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_name()


def numeric_libraries(device: torch.device) -> dict[str, str]:
    """What else may change the last bits: for the record beside every posterior."""
    blas = torch.__config__.show()
    found = {
        "blas": ", ".join(re.findall(r"(?:Math Kernel Library Version|OpenBLAS|MKL-DNN) \S+", blas)),
        "cpu_kernels": torch.backends.cpu.get_cpu_capability(),
    }
    if device.type == "cuda":
        cudnn = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
        found |= {"cuda": str(torch.version.cuda), "cudnn": cudnn, "driver": _driver()}
    return found


def describe_devices() -> list[str]:
    """Every device that a worker here could be given, one line each."""
    names = [f"cpu: {_cpu_name()}, {usable_threads()} threads"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        names.append(f"cuda:{index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    return names


def memory_for_networks(device: torch.device) -> int:
    """Bytes of `device`'s memory that loaded networks may fill; activations need the rest."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory) // 2
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4


def _driver() -> str:
    """Version of NVIDIA's kernel module; empty where it cannot be read."""
    try:
        match = re.search(r"Module\s+([\d.]+)", Path("/proc/driver/nvidia/version").read_text(encoding="ascii"))
    except OSError:
        match = None
    return match[1] if match else ""


def _cpu_name() -> str:
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()
