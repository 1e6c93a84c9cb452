"""docs/evaluation-protocols.md documents every option and preset that exists, and no other."""

import re
from dataclasses import fields
from pathlib import Path

from ensembles.protocols import PRESET_SUMMARIES, PRESETS, Protocol

PAGE = (Path(__file__).parents[3] / "docs/evaluation-protocols.md").read_text(encoding="utf-8")


def documented(heading: str) -> set[str]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE))


def test_every_protocol_option_is_documented() -> None:
    assert documented("Options") == {field.name for field in fields(Protocol)} - {"name"}


def test_every_preset_is_documented_and_summarised() -> None:
    assert documented("Presets") == set(PRESETS)
    assert set(PRESET_SUMMARIES) == set(PRESETS)
