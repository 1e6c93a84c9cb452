"""ensembles/README.md names the torch half, pyproject.toml the other: every module belongs to one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_module_of_the_library_is_in_one_half() -> None:
    readme = (ROOT / "ensembles" / "README.md").read_text(encoding="utf-8")
    listed = readme.split("The torch half (")[1].split(")")[0]
    torch_half = set(re.findall(r"`(\w+)`", listed))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = (one for one in contracts if one["name"] == "The NumPy half of ensembles is free of torch")
    numpy_half = {name.removeprefix("ensembles.") for name in contract["source_modules"]}
    modules = {path.stem for path in (ROOT / "ensembles").glob("*.py")} - {"__init__"}
    assert numpy_half & torch_half == set()
    assert numpy_half | torch_half == modules
