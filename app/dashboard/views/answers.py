"""How the images of one evaluation were answered: classes, confusion, calibration, single images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast, get_args

from flask import Response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.dashboard import answer_charts
from app.dashboard.blueprint import ASSET_SECONDS, blueprint, runtime
from app.dashboard.paging import wanted
from app.db.queries import datasets, evaluations
from app.errors import ArtifactDamagedError, InvalidRequestError, OutcomesMissingError
from app.representations.answered_images import CellMetric, CompareCell, Shown
from app.representations.answers import ClassSort, Order
from app.representations.evaluations import EvaluationDocument
from app.services.answering import answered_images, calibrations, class_answers, thumbnails
from app.services.answering.answered_images import ImageFilter
from ensembles.errors import DatasetChangedError, Problem, UnreadableImageError

CLASSES_SHOWN = 100
PAIRS_SHOWN = 50
IMAGES_SHOWN = 24

#: Other evaluations of the data set that are offered as a base.
_BASES_OFFERED = 20

SHOWN: Mapping[Shown, str] = {
    "wrong": "wrong",
    "confident": "confident errors",
    "rescued": "rescued by the ensemble",
    "broken": "broken by it",
    "disagree": "members disagree",
    "all": "all",
}
_OF_ONE_MEMBER: tuple[Shown, ...] = ("wrong", "confident", "all")
CELLS: Mapping[CompareCell, str] = {
    "only_base_wrong": "only the base wrong",
    "only_candidate_wrong": "only the candidate wrong",
    "both_wrong": "both wrong",
    "both_right": "both right",
}

#: Behind what cannot be decoded: an SVG that reads on light and dark.
_PLACEHOLDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 96" width="128" height="96">'
    '<rect x="1" y="1" width="126" height="94" rx="4" fill="none" stroke="#84888f" stroke-width="2"/>'
    '<path d="M1 95 127 1" stroke="#84888f" stroke-width="1"/>'
    '<text x="64" y="53" text-anchor="middle" font-family="sans-serif" font-size="13" fill="#84888f">{}</text></svg>'
)


@blueprint.get("/evaluations/<evaluation_id>/classes", endpoint="classes")
def show_classes(evaluation_id: str) -> ResponseReturnValue:
    """The error of each class, and its change from a base."""
    evaluation, bases = _evaluation(evaluation_id, with_bases=True)
    sort, order = _choice("sort", get_args(ClassSort)), _choice("order", get_args(Order))
    return _page(
        evaluation,
        "classes",
        lambda: class_answers.classes(
            runtime().db,
            runtime().artifacts,
            evaluation_id,
            name=wanted("subject"),
            base=wanted("base"),
            sort=cast("ClassSort | None", sort),
            order=cast("Order | None", order),
            cursor=wanted("cursor"),
            limit=CLASSES_SHOWN,
        ),
        bases=bases,
        natural=class_answers.NATURAL_ORDER,
    )


@blueprint.get("/evaluations/<evaluation_id>/confusion", endpoint="confusion")
def show_confusion(evaluation_id: str) -> ResponseReturnValue:
    """A picture of the matrix, and the most frequent confusions."""
    evaluation, _ = _evaluation(evaluation_id)
    db, artifacts, name = runtime().db, runtime().artifacts, wanted("subject")

    def read() -> dict[str, Any]:
        everything = class_answers.classes(db, artifacts, evaluation_id, name=name, sort="class")
        few = everything.classes <= answer_charts.MAX_COUNTED
        found = class_answers.confusion(db, artifacts, evaluation_id, name=name, limit=None if few else PAIRS_SHOWN)
        counts = {(pair.label, pair.predicted): pair.count for pair in found.items}
        counts |= {(item.label, item.label): item.n - item.errors for item in everything.items if item.n > item.errors}
        address = url_for("answers.get_confusion", id=evaluation_id, format="png", subject=name)
        names = [item.class_name for item in everything.items]
        worst = found.items[0] if found.items else None
        told = f"Confusion matrix of {found.subject.name}, {found.classes} classes: {found.errors} of {found.n} wrong"
        if worst:
            told += f"; most often {worst.class_name} is taken for {worst.predicted_name}, {worst.count} times"
        picture = answer_charts.matrix(address, names, counts, f"{told}. The table has the most frequent confusions.")
        return {"found": found, "picture": picture, "address": address, "items": found.items[:PAIRS_SHOWN]}

    return _page(evaluation, "confusion", read)


@blueprint.get("/evaluations/<evaluation_id>/calibration", endpoint="calibration")
def show_calibration(evaluation_id: str) -> ResponseReturnValue:
    """The reliability curve of one subject, and the numbers of all."""
    evaluation, _ = _evaluation(evaluation_id)
    binning = _choice("bins", ("width", "mass")) or "width"

    def read() -> dict[str, Any]:
        document = calibrations.calibration(runtime().db, runtime().artifacts, evaluation_id)
        name = wanted("subject")
        found = [item for item in document.items if name in (None, item.subject.name)]
        if not found:
            known = ", ".join(item.subject.name for item in document.items)
            raise InvalidRequestError([Problem("subject", f"one of {known}", name)])
        item = found[0]
        bins = item.width if binning == "width" else item.mass
        return {"items": document.items, "item": item, "bins": bins, "chart": answer_charts.reliability(item, bins)}

    return _page(evaluation, "calibration", read, binning=binning)


@blueprint.get("/evaluations/<evaluation_id>/images", endpoint="images")
def show_images(evaluation_id: str) -> ResponseReturnValue:
    """Thumbnails, truth, and the likeliest classes by every member and the ensemble."""
    evaluation, _ = _evaluation(evaluation_id)
    chosen = ImageFilter(
        name=wanted("subject"),
        shown=cast("Shown", _choice("show", get_args(Shown)) or "wrong"),
        label=_number("label"),
        predicted=_number("predicted"),
        base=wanted("base"),
        candidate=wanted("candidate"),
        cell=cast("CompareCell | None", _choice("cell", get_args(CompareCell))),
        metric=cast("CellMetric", _choice("metric", get_args(CellMetric)) or "top1_error"),
    )

    def read() -> dict[str, Any]:
        document = answered_images.list_page(
            runtime().db, runtime().artifacts, evaluation_id, chosen, cursor=wanted("cursor"), limit=IMAGES_SHOWN
        )
        with runtime().db.read() as session:
            names = datasets.get(session, evaluation.dataset).class_names
        return {"page": document, "names": names or []}

    start = int(cursor) if (cursor := wanted("cursor") or "0").isdecimal() and len(cursor) < 19 else 0
    return _page(
        evaluation,
        "images",
        read,
        chosen=chosen,
        start=start,
        size=IMAGES_SHOWN,
        shown={
            name: text
            for name, text in SHOWN.items()
            if len(evaluation.checkpoints) > 1 or name in ("wrong", "confident", "all")
        },
        cells=CELLS,
    )


@blueprint.get("/datasets/<key>/images/<int:position>/thumbnail", endpoint="thumbnail")
def show_thumbnail(key: str, position: int) -> Response:
    """A small copy of one image; a drawn placeholder where the registered file cannot be shown."""
    source = thumbnails.find_image(runtime().db, runtime().artifacts, key, position)
    # Of the registered content, so the address always means these pixels: what a browser has needs no decoding.
    tag = f"{source.image.sha256[:32]}-{thumbnails.MAX_SIDE}"
    if request.if_none_match.contains(tag):
        response = Response(status=HTTPStatus.NOT_MODIFIED)
    else:
        try:
            response = Response(thumbnails.render(source), mimetype=thumbnails.MIMETYPE)
        except (DatasetChangedError, UnreadableImageError) as error:
            text = "changed or gone" if isinstance(error, DatasetChangedError) else "unreadable"
            headers = {"Cache-Control": "no-store"}
            return Response(_PLACEHOLDER.format(text), mimetype="image/svg+xml", headers=headers)
    response.set_etag(tag)
    response.headers["Cache-Control"] = f"private, max-age={ASSET_SECONDS}, immutable"
    return response


def _evaluation(evaluation_id: str, *, with_bases: bool = False) -> tuple[EvaluationDocument, Sequence[Any]]:
    """The evaluation, and others of its data set that it may be compared with."""
    with runtime().db.read() as session:
        evaluation = evaluations.get(session, evaluation_id)
        if not with_bases:
            return evaluation, ()
        found = evaluations.list_page(
            session, cursor=None, limit=_BASES_OFFERED + 1, dataset=evaluation.dataset, status="succeeded"
        )
    return evaluation, [other for other in found.items if other.id != evaluation_id]


def _page(evaluation: EvaluationDocument, name: str, read: Callable[[], Any], **context: Any) -> ResponseReturnValue:
    """One of the pages; why there is nothing to show stands in the place of its content."""
    missing = damaged = None
    found: Any = None
    if evaluation.status == "succeeded":
        try:
            found = read()
        except OutcomesMissingError:
            missing = True
        except ArtifactDamagedError as error:
            damaged = error
    template = f"dashboard/{name}.html" if found is not None else "dashboard/answers_missing.html"
    values = found if isinstance(found, dict) else {"page": found}
    return render_template(
        template, evaluation=evaluation, tab=name, missing=missing, damaged=damaged, **{**context, **values}
    )


def _choice(name: str, allowed: Sequence[str]) -> str | None:
    """A query parameter that has a few values; None where it is missing.

    Raises:
        InvalidRequestError: it has another.
    """
    value = wanted(name)
    if value is not None and value not in allowed:
        raise InvalidRequestError([Problem(name, f"one of {', '.join(allowed)}", value)])
    return value


def _number(name: str) -> int | None:
    value = wanted(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise InvalidRequestError([Problem(name, "the number of a class", value)])
    return int(value)
