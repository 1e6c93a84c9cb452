"""The exact pruned table of an evaluation's prediction sets: made once, kept in the store, sent to browsers."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from functools import cached_property

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.errors import ArtifactDamagedError, InvalidRequestError, SearchTooLargeError
from app.representations.contenders import ContenderUnitDocument, ContenderUnitsDocument
from app.representations.ensembles import OverName
from app.services.artifact_keys import contenders_key
from app.services.searching import search_units
from app.services.searching.search_units import Searchable
from app.services.searching.searches import MAX_POSTERIORS
from ensembles.contender_bytes import VERSION, from_bytes, to_bytes
from ensembles.contenders import Contenders, find_contenders
from ensembles.errors import NonFiniteProbsError, PosteriorsFormatError, SpecError
from ensembles.units import UnitContenders

_DIGEST_BYTES = hashlib.sha256().digest_size

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, eq=False)
class ContenderTable:
    """The table of one evaluation.

    Attributes:
        searchable: whose prediction sets, and the units that they make.
        data: in the layout of `ensembles.contender_bytes`.
    """

    searchable: Searchable
    data: bytes

    @cached_property
    def leaves(self) -> Contenders:
        """Asked by prediction sets."""
        return from_bytes(self.data)

    @cached_property
    def units(self) -> UnitContenders:
        """Asked by units."""
        return UnitContenders.of(self.leaves, [unit.shares for unit in self.searchable.units])


def find(db: Database, artifacts: ArtifactStore, evaluation_id: str, over: OverName = "views") -> Searchable:
    """What an evaluation's table is made of; no posterior is read.

    Raises:
        NotFoundError: no such evaluation.
        StateConflictError: it has not succeeded, or its posteriors are being made anew.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
        ArtifactDamagedError: outcomes or the index are missing or different.
    """
    with db.read() as session:
        return search_units.read(session, artifacts, evaluation_id, over)


def version(searchable: Searchable) -> str:
    """A digest of everything that the table depends on: files, images, labels, and its layout.

    Names of files are made of part and fencing token, or of their content: what is predicted anew has others.
    """
    digest = hashlib.sha256(f"{VERSION}\n{searchable.evaluation.dataset.fingerprint}\n".encode())
    for leaf in searchable.leaves:
        for part in leaf.parts:
            digest.update(f"{part.start} {part.stop} {part.path.parent.name}/{part.path.name}\n".encode())
        digest.update(b"\n")
    digest.update(searchable.scored.tobytes())
    return digest.hexdigest()[:32]


def table(artifacts: ArtifactStore, searchable: Searchable) -> ContenderTable:
    """The table, from the store or made in one pass over the posteriors and stored.

    The file begins with the SHA-256 of the rest: it is in no row, and what is damaged or gone is made again.

    Raises:
        ArtifactDamagedError: posteriors are missing or different.
        SearchTooLargeError: there are more of them than a web process reads.
        StorageFullError: no room for it.
    """
    key = contenders_key(version(searchable))
    data = _stored(artifacts, key)
    if data is None:
        asked = len(searchable.leaves) * len(searchable.scored) * len(searchable.index.classes)
        if asked > MAX_POSTERIORS:
            raise SearchTooLargeError("posteriors", asked, MAX_POSTERIORS)
        with _one_at_a_time:
            data = _stored(artifacts, key)  # another request may have made it meanwhile
            if data is None:
                data = _made(searchable)
                artifacts.put(key, hashlib.sha256(data).digest() + data)
    return ContenderTable(searchable, data)


def describe(searchable: Searchable, over: OverName) -> ContenderUnitsDocument:
    """What units are made of: whole weights of the table's prediction sets."""
    shares = UnitContenders.whole_shares([unit.shares for unit in searchable.units])
    evaluation_id = searchable.evaluation.id
    return ContenderUnitsDocument(
        evaluation=evaluation_id,
        over=over,
        version=version(searchable),
        images=int(searchable.scored.sum()),
        rules=["mean", "geometric"] if all(len(unit.views) == 1 for unit in searchable.units) else ["mean"],
        units=[
            ContenderUnitDocument(
                checkpoint=unit.member.checkpoint.name,
                scales=unit.scales,
                mode=unit.mode,
                gmacs=unit.gmacs,
                seconds=unit.seconds,
                leaves=list(row),
                own_weight=own,
            )
            for unit, row, own in zip(searchable.units, shares, searchable.own, strict=True)
        ],
        links={"table": f"/api/v1/evaluations/{evaluation_id}/contenders"},
    )


def _stored(artifacts: ArtifactStore, key: str) -> bytes | None:
    try:
        stored = artifacts.path(key).read_bytes()
    except FileNotFoundError:
        return None
    digest, data = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    return data if hashlib.sha256(data).digest() == digest else None


def _made(searchable: Searchable) -> bytes:
    try:
        labels = searchable.index.labels[: len(searchable.scored)]
        return to_bytes(find_contenders(searchable.posteriors(), labels, searchable.scored))
    except (PosteriorsFormatError, NonFiniteProbsError, OSError) as error:
        name = f"posteriors of evaluation {searchable.evaluation.id}"
        raise ArtifactDamagedError(name, str(error)) from error
    except SpecError as error:
        raise InvalidRequestError(error.problems) from error
