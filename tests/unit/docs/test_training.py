"""docs/training.md documents every option of `softvote train`, with its default, and no other."""

import re
from pathlib import Path

from click.core import UNSET

from workers.training.command import train

PAGE = (Path(__file__).parents[3] / "docs/training.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(--[\w-]+)`(?: / `--[\w-]+`)? \| ([^|]*) \|", PAGE, re.MULTILINE)


def test_every_option_of_train_is_documented() -> None:
    assert sorted(option for option, _ in ROWS) == sorted(option.opts[0] for option in train.params)


def test_the_documented_defaults_are_the_options_defaults() -> None:
    documented = {option: default.strip("`") for option, default in ROWS}
    for option in train.params:
        stated = documented[option.opts[0]]
        if option.required:
            assert stated == "required"
        elif option.default not in (None, UNSET) and not isinstance(option.default, bool):
            assert type(option.default)(stated) == option.default
