"""Documents of searches: weights of units become members, counts become errors with their intervals."""

from __future__ import annotations

import numpy as np

from app.representations.ensembles import SearchRequest
from app.representations.searches import (
    FusedMemberDocument,
    FusionDocument,
    LeftOutDocument,
    ProcedureDocument,
    SearchDocument,
)
from app.services.searching.search_units import Searchable, Unit
from ensembles.search import Fusion, SearchResult
from ensembles.statistics import wilson_interval


def search_document(searchable: Searchable, result: SearchResult, request: SearchRequest) -> SearchDocument:
    """What a search found, in the words of REST."""
    units = searchable.units
    biased, n = result.selection_biased, result.n_report
    own = searchable.evaluation.ensemble
    own_biased = own is not None and bool(own["selection_biased"])
    best = result.best[0]
    return SearchDocument(
        evaluation=searchable.evaluation.id,
        method=request.method,
        over=request.over,
        rule=request.rule,
        metric=request.metric,
        cost=request.cost,
        within=request.within,
        candidates_tried=result.tried,
        selection=request.guard,
        selection_biased=biased,
        n_select=result.n_select,
        n_report=n,
        optimism=_optimism(result, request),
        procedure=_procedure(result),
        best=[_fusion(one, units, n, biased=biased) for one in result.best],
        pareto=[_fusion(one, units, n, biased=biased) for one in result.front],
        cheapest=_fusion(result.cheapest, units, n, biased=biased),
        leave_one_out=[
            LeftOutDocument(
                without=_unit(units[unit], best.weights[unit]),
                top1_error=one.top1_wrong / n,
                top5_error=one.top5_wrong / n,
                difference=(one.top1_wrong - best.top1_wrong) / n,
            )
            for unit, one in result.left_out.items()
        ],
        fixed=[_fusion(one, units, n, biased=own_biased) for one in result.fixed],
    )


def _optimism(result: SearchResult, request: SearchRequest) -> float | None:
    reported = {"split": result.best[0], "crossfit": result.procedure, "none": None}[result.guard]
    if reported is None or request.metric == "nll":
        return None
    wrong = reported.top1_wrong if request.metric == "top1_error" else reported.top5_wrong
    return wrong / result.n_report - result.best[0].chosen_by


def _procedure(result: SearchResult) -> ProcedureDocument | None:
    if result.procedure is None:
        return None
    n = result.n_report
    low, high = wilson_interval(result.procedure.top1_wrong, n)
    return ProcedureDocument(
        top1_error=result.procedure.top1_wrong / n,
        top5_error=result.procedure.top5_wrong / n,
        low=low,
        high=high,
        n=n,
    )


def _fusion(one: Fusion, units: tuple[Unit, ...], n: int, *, biased: bool) -> FusionDocument:
    low, high = wilson_interval(one.top1_wrong, n)
    used = [(unit, weight) for unit, weight in zip(units, one.weights, strict=True) if weight > 0]
    seconds = [unit.seconds for unit, _ in used if unit.seconds is not None]
    return FusionDocument(
        members=[_unit(unit, weight) for unit, weight in used],
        top1_error=one.top1_wrong / n,
        top5_error=one.top5_wrong / n,
        low=low,
        high=high,
        selected_by=one.chosen_by,
        gmacs=float(np.sum([unit.gmacs for unit, _ in used])),
        seconds=float(np.sum(seconds)) if len(seconds) == len(used) else None,
        selection_biased=biased,
    )


def _unit(unit: Unit, weight: float) -> FusedMemberDocument:
    return FusedMemberDocument(
        checkpoint=unit.member.checkpoint.name,
        scales=unit.scales,
        mode=unit.mode,
        weight=weight,
    )
