"""Where artifacts lie in the store. Tokens are in the names: who lost a lease cannot overwrite the winner's file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

#: Tables of contenders lie here; whoever removes one has it made again by who asks next.
CONTENDERS: Final = "contenders/"

_ID: Final = r"[0-9a-f]{24}"
_POSTERIORS: Final = re.compile(rf"posteriors/{_ID}/({_ID})\.(\d+)\.npy")
_OUTCOMES: Final = re.compile(rf"outcomes/({_ID})-(\d+)-\d+\.npy")


@dataclass(frozen=True)
class LeasedFile:
    """What the key of a file tells about the lease that it was written under."""

    kind: Literal["part", "item"]
    row_id: str
    token: int


def posteriors_key(set_id: str, part_id: str, token: int) -> str:
    """Of the (images, K) posteriors of a prediction part."""
    return f"posteriors/{set_id}/{part_id}.{token}.npy"


def outcomes_key(item_id: str, token: int, position: int) -> str:
    """Of the outcomes of a member or of the ensemble; `position` is that of its scores."""
    return f"outcomes/{item_id}-{token}-{position}.npy"


def imported_key(fingerprint: str) -> str:
    """Of imported posteriors, by their content."""
    return f"imported/{fingerprint}.npy"


def dataset_key(sha256: str) -> str:
    """Of a data set's index, by its content."""
    return f"datasets/{sha256}.json"


def contenders_key(version: str) -> str:
    """Of a table of contenders, by what it was made of."""
    return f"{CONTENDERS}{version}.svct"


def written_under(key: str) -> LeasedFile | None:
    """The lease behind a key; None for what is not written under one."""
    if match := _POSTERIORS.fullmatch(key):
        return LeasedFile("part", match[1], int(match[2]))
    if match := _OUTCOMES.fullmatch(key):
        return LeasedFile("item", match[1], int(match[2]))
    return None
