"""docs/evaluation-protocols.md documents every option and preset that exists, and no other."""

import re
from dataclasses import fields
from pathlib import Path

from ensembles.protocols import PRESET_SUMMARIES, PRESETS, Protocol

TESTS = Path(__file__).parents[2]
PAGE = (Path(__file__).parents[3] / "docs/evaluation-protocols.md").read_text(encoding="utf-8")


def documented(heading: str) -> set[str]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE))


def test_every_protocol_option_is_documented() -> None:
    assert documented("Options") == {field.name for field in fields(Protocol)} - {"name"}


def test_every_preset_is_documented_and_summarised() -> None:
    assert documented("Presets") == set(PRESETS)
    assert set(PRESET_SUMMARIES) == set(PRESETS)


def test_every_option_names_a_test_that_exists() -> None:
    section = PAGE.split("\n## Tests that pin them\n")[1].split("\n## ")[0]
    assert documented("Tests that pin them") == {field.name for field in fields(Protocol)} - {"name"}
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", section)
    assert len(named) > 14
    for path, test in named:
        text = (TESTS / path).read_text(encoding="utf-8")
        assert not test or re.search(rf"^def {test}\(", text, re.MULTILINE), f"{path}::{test}"
