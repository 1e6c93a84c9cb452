"""Searching an ensemble among the kept posteriors of an evaluation, in the process that asks.

That is the web process, too: a search of seven checkpoints on 50,000 images takes seconds, and its answer is wanted at
once. What would take longer is refused there by its size, which is known beforehand, and runs on the command line at
the machine. One search runs at a time in a process, so that memory stays that of one.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.errors import ArtifactDamagedError, InvalidRequestError, SearchTooLargeError
from app.representations.ensembles import (
    ChoiceDocument,
    EnsembleMemberRequest,
    EnsembleRequest,
    SavedSearchRequest,
    SearchRequest,
)
from app.representations.searches import SearchDocument
from app.services import ensembles
from app.services.searching import search_units
from app.services.searching.search_documents import search_document
from app.services.searching.search_units import Searchable, Unit
from ensembles.errors import NonFiniteProbsError, PosteriorsFormatError, Problem, SpecError
from ensembles.pools import Pool, make_pool
from ensembles.search import FOLDS, SearchResult, search
from ensembles.subsets import MAX_EXHAUSTIVE
from ensembles.weighting import GREEDY_STEPS

#: Posteriors that a search in the web process reads: 24 prediction sets of 50,000 images and 1,000 classes.
MAX_POSTERIORS = 1_200_000_000
#: Sums that it takes, of one candidate for one class of one image.
MAX_SUMS = 8_000_000_000

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, eq=False)
class _Found:
    """A search and what it was over."""

    searchable: Searchable
    result: SearchResult


def run(
    db: Database, artifacts: ArtifactStore, evaluation_id: str, request: SearchRequest, *, bounded: bool = True
) -> SearchDocument:
    """Search.

    Args:
        db: the database.
        artifacts: where posteriors lie.
        evaluation_id: of one that succeeded.
        request: what is searched, and how.
        bounded: refuse what would take a web process too long.

    Raises:
        NotFoundError: no such evaluation.
        StateConflictError: it has not succeeded, or its posteriors are being made anew.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
        InvalidRequestError: everything that is wrong with the request.
        SearchTooLargeError: it would take too long here.
        ArtifactDamagedError: posteriors, outcomes or the index are missing or different.
    """
    found = _search(db, artifacts, evaluation_id, request, bounded=bounded)
    return search_document(found.searchable, found.result, request)


def save(db: Database, artifacts: ArtifactStore, request: EnsembleRequest, *, bounded: bool = True) -> str:
    """Save the ensemble of a request: of its members, or the one that its search chooses; its id.

    Raises:
        ServiceError: as `run` and `app.services.ensembles.create` say.
    """
    asked = request.search
    if asked is None:
        return ensembles.create(db, request)
    stated = [name for name in ("members", "protocol", "rule", "chosen_on") if name in request.model_fields_set]
    if stated:
        rule = "nothing, where a search chooses"
        raise InvalidRequestError([Problem(name, rule, str(getattr(request, name))) for name in stated])
    found = _search(db, artifacts, asked.evaluation, asked, bounded=bounded)
    members = member_requests(found.searchable.units, found.result.best[0].weights)
    whole = EnsembleRequest(
        name=request.name, notes=request.notes, members=members, rule=asked.rule, temperature=request.temperature
    )
    return ensembles.create(db, whole, _choice(found, asked))


def member_requests(units: Sequence[Unit], weights: Sequence[float]) -> list[EnsembleMemberRequest]:
    """The members of a saved ensemble: the units with weight, by their own protocols."""
    return [
        EnsembleMemberRequest(
            checkpoint=unit.member.checkpoint_id,
            scales=unit.scales or None,
            mode=unit.mode if unit.mode in ensembles.MODES else None,  # type: ignore[arg-type]
            weight=weight,
            protocol=unit.member.protocol,
        )
        for unit, weight in zip(units, weights, strict=True)
        if weight > 0
    ]


def _search(
    db: Database, artifacts: ArtifactStore, evaluation_id: str, request: SearchRequest, *, bounded: bool
) -> _Found:
    with db.read() as session:
        searchable = search_units.read(session, artifacts, evaluation_id, request.over)
    _check(searchable, request)
    if bounded:
        classes = len(searchable.index.classes)
        _refuse_beyond("posteriors", len(searchable.leaves) * len(searchable.scored) * classes, MAX_POSTERIORS)
    with _one_at_a_time:
        pool = _pool(searchable, request)
        if bounded:
            _refuse_beyond("sums", _sums(pool, len(searchable.leaves), request), MAX_SUMS)
        same_rule = searchable.evaluation.fusion["rule"] == request.rule
        try:
            result = search(
                pool,
                searchable.ids,
                searchable.labels,
                method=request.method,
                guard=request.guard,
                metric=request.metric,
                fixed=[searchable.own] if same_rule else [],
                within=request.within,
            )
        except SpecError as error:
            raise InvalidRequestError(error.problems) from error
    return _Found(searchable, result)


def _pool(searchable: Searchable, request: SearchRequest) -> Pool:
    costs = [unit.gmacs if request.cost == "gmacs" else unit.seconds or 0.0 for unit in searchable.units]
    try:
        return make_pool(
            searchable.posteriors(),
            searchable.index.labels[: len(searchable.scored)],
            [unit.shares for unit in searchable.units],
            costs,
            searchable.scored,
            request.rule,
        )
    except (PosteriorsFormatError, NonFiniteProbsError, OSError) as error:
        name = f"posteriors of evaluation {searchable.evaluation.id}"
        raise ArtifactDamagedError(name, str(error)) from error
    except SpecError as error:
        raise InvalidRequestError(error.problems) from error


def _check(searchable: Searchable, request: SearchRequest) -> None:
    problems = []
    units = len(searchable.units)
    if request.method == "exhaustive" and units > MAX_EXHAUSTIVE:
        rule = f"greedy or weights, where there are more than {MAX_EXHAUSTIVE} units; these are {units} {request.over}"
        problems.append(Problem("method", rule, request.method))
    if request.method == "exhaustive" and request.metric == "nll":
        problems.append(Problem("metric", "top1_error or top5_error, with the exhaustive method", request.metric))
    if request.rule == "geometric":
        if request.metric == "nll":
            problems.append(Problem("metric", "an error, with the geometric rule", request.metric))
        if any(len(unit.views) > 1 for unit in searchable.units):
            rule = "views, with the geometric rule, or checkpoints of one view: a log pool of means has no exact table"
            problems.append(Problem("over", rule, request.over))
    if request.cost == "seconds" and any(unit.seconds is None for unit in searchable.units):
        problems.append(Problem("cost", "gmacs, since some posteriors here were not timed", request.cost))
    least = {"split": 2, "crossfit": FOLDS}.get(request.guard, 1)
    if int(searchable.scored.sum()) < least:
        rule = f"none, where fewer than {least} images are scored"
        problems.append(Problem("guard", rule, request.guard))
    if problems:
        raise InvalidRequestError(problems)


def _sums(pool: Pool, leaves: int, request: SearchRequest) -> int:
    """How many sums the search takes; one of several leaves costs a fourth of each, as a product of matrices does."""
    units = pool.units
    each = math.ceil(leaves / 4)
    candidates = {
        "exhaustive": 1 << units,
        "greedy": GREEDY_STEPS * units * each,
        # Rounds of exchanges, as many as are usual.
        "weights": 20 * units * units * each,
    }[request.method]
    runs = 1 + FOLDS if request.guard == "crossfit" else 1
    return runs * candidates * len(pool.table.others)


def _refuse_beyond(what: str, asked: int, limit: int) -> None:
    if asked > limit:
        raise SearchTooLargeError(what, asked, limit)


def _choice(found: _Found, request: SavedSearchRequest) -> ChoiceDocument:
    dataset = found.searchable.evaluation.dataset
    return ChoiceDocument(
        evaluation=found.searchable.evaluation.id,
        dataset=dataset.name,
        dataset_fingerprint=str(dataset.fingerprint),
        method=request.method,
        metric=request.metric,
        over=request.over,
        selection=request.guard,
        candidates_tried=found.result.tried,
        n_select=found.result.n_select,
        n_report=found.result.n_report,
    )
