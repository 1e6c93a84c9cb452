"""The paper's tables as their page shows them: the verdicts counted, reasons by name, links, Tables 1 and 2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlencode

from app.representations.paper import MeasuredCells, PaperDocument, PaperRow, members_text, scale_text
from ensembles.configurations import CONFIGURATIONS, Architecture, Convolution
from ensembles.paper import IMAGES, TABLE_2

METHOD_NAMES = {"dense": "dense", "crops": "multi-crop", "both": "multi-crop & dense"}

#: Tables that print the error on the test set too, and those whose rows differ in method.
WITH_TEST_ERRORS, WITH_METHODS = (6, 7), (5, 6, 7)

_NO_COUNTERPART = "no row of the paper has this S, these test scales and this way of evaluating"


@dataclass(frozen=True)
class Network:
    """A column of table 1 with its entry in table 2; `parameters` and `macs` are exact, for 1,000 classes at 224 px."""

    name: str
    blocks: tuple[str, ...]
    lrn: bool
    weight_layers: int
    printed_millions: int
    parameters: int
    macs: int


def networks() -> list[Network]:
    """The paper's six configurations in its order."""
    return [_network(name) for name in TABLE_2]


def _network(name: str) -> Network:
    configuration, architecture = CONFIGURATIONS[name], Architecture(name)
    blocks = tuple(map(_block, configuration.blocks))
    return Network(
        name=name,
        blocks=blocks,
        lrn=configuration.lrn,
        weight_layers=sum(map(len, configuration.blocks)) + 3,
        printed_millions=TABLE_2[name],
        parameters=architecture.parameters,
        macs=architecture.macs(architecture.crop, architecture.crop),
    )


def _block(convolutions: Sequence[Convolution]) -> str:
    """Equal neighbours counted: `3-256 ×2, 1-256`."""
    groups = [(str(kind), len(list(same))) for kind, same in groupby(f"{c.kernel}-{c.channels}" for c in convolutions)]
    return ", ".join(kind if times == 1 else f"{kind} ×{times}" for kind, times in groups)


def tally(document: PaperDocument) -> Mapping[str, int]:
    """How many cells are equal, plausible and different; a row that two tables print counts in both."""
    rows = (row for table in document.tables for row in table.rows)
    return Counter(verdict for row in rows for verdict in (row.top1_verdict, row.top5_verdict) if verdict)


def reasons(document: PaperDocument) -> dict[str, list[str]]:
    """Why something stands beside no printed number, by its name."""
    found: dict[str, list[str]] = {}
    for left_out in document.left_out:
        found.setdefault(left_out.name, []).append(left_out.reason)
    for row in _measured_rows(document):
        if row.measured and not row.printed:
            found.setdefault(row.measured.name, []).extend(row.measured.departures or [_NO_COUNTERPART])
    return {name: list(dict.fromkeys(words)) for name, words in found.items()}


def smallest_sample(document: PaperDocument) -> MeasuredCells | None:
    """The compared measurement on the fewest images, where that is fewer than the paper's."""
    compared = [row.measured for row in _measured_rows(document) if row.measured and row.printed]
    smallest = min(compared, key=lambda measured: measured.n, default=None)
    return smallest if smallest and smallest.n < IMAGES else None


def networks_of(row: PaperRow) -> str:
    """The line below a row's label: S and Q of one network, the paper's notation for several."""
    if len(row.members) != 1:
        return members_text(row.members)
    (member,) = row.members
    return f"S {scale_text(member.training_scale)}, Q {', '.join(map(str, member.scales))}"


def export(address: str, others: Sequence[str], table: int | None = None, form: str | None = None) -> str:
    """The REST address of the same tables, or of one of them."""
    query = {"with": ",".join(others), "table": table, "format": form}
    wanted = urlencode({name: value for name, value in query.items() if value})
    return f"{address}?{wanted}" if wanted else address


def _measured_rows(document: PaperDocument) -> list[PaperRow]:
    return [row for table in document.tables for row in table.rows if row.measured]
