"""/evaluations/{id}: classes, confusion, calibration, agreement, images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast

from flask import Response, request
from pydantic import Field

from app.api.blueprints import answer, blueprint, declares, described, runtime
from app.api.schemas import IdPath, Query, Text
from app.errors import (
    ArtifactDamagedError,
    InvalidRequestError,
    NotFoundError,
    OutcomesMissingError,
    StateConflictError,
)
from app.representations import answered_images as image_documents
from app.representations import answers as documents
from app.representations.answered_images import AnsweredImagesDocument, CellMetric, CompareCell, Shown
from app.representations.answers import (
    AgreementDocument,
    CalibrationDocument,
    ClassesDocument,
    ClassSort,
    ConfusionDocument,
    Order,
)
from app.representations.tabular import Cell, csv_table
from app.services.answering import agreements, answered_images, calibrations, class_answers, confusion_pictures
from app.services.answering.answered_images import ImageFilter

resource = blueprint("answers", "How the images of an evaluation were answered, class by class and one by one.")

_CSV = {"text/csv": {"type": "string"}}
_PNG = {"image/png": {"type": "string", "format": "binary"}}
CLASSES = described(resource, ClassesDocument, media=_CSV)
CONFUSION = described(resource, ConfusionDocument, media={**_CSV, **_PNG})
CALIBRATION = described(resource, CalibrationDocument, media=_CSV)
AGREEMENT = described(resource, AgreementDocument, media=_CSV)
IMAGES = described(resource, AnsweredImagesDocument, media=_CSV)

NOT_MODIFIED = {"description": "The picture named by If-None-Match is the present one."}

#: What every one of these operations may answer instead.
_CAUSES = (InvalidRequestError, NotFoundError, StateConflictError, OutcomesMissingError, ArtifactDamagedError)

_SUBJECT = "name or id of a member; without it the ensemble, or the only member"


class CutQuery(Query):
    """Which part of a list that is sorted anew for each request."""

    cursor: Text | None = Field(default=None, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=200, description="items on a page")


class ClassesQuery(CutQuery):
    """Whose classes, in which order; a CSV has all of them."""

    subject: Text | None = Field(default=None, description=_SUBJECT)
    base: Text | None = Field(default=None, description="ID or ID:NAME to test each class against")
    sort: ClassSort | None = Field(default=None, description="without it `p` with a base, else `error`")
    order: Order | None = Field(default=None, description="without it what matters most comes first")
    format: Literal["json", "csv"] = "json"


class ConfusionQuery(Query):
    """Whose confusions; a CSV has all pairs, the PNG is the matrix."""

    subject: Text | None = Field(default=None, description=_SUBJECT)
    limit: int = Field(default=50, ge=1, le=1000, description="most frequent pairs")
    format: Literal["json", "csv", "png"] = "json"


class FormatQuery(Query):
    """In which form."""

    format: Literal["json", "csv"] = "json"


class ImagesQuery(CutQuery):
    """Which images: `show` and the classes, or a cell of a comparison and the classes."""

    subject: Text | None = Field(default=None, description=f"whose answers the filter reads: {_SUBJECT}")
    show: Shown = Field(
        default="all",
        description="`wrong`; `confident`: wrong, most confident first; `rescued` and `broken` by the ensemble against "
        "its member of fewest errors; `disagree`: not all members give the same class",
    )
    label: int | None = Field(default=None, ge=0, description="number of the true class")
    predicted: int | None = Field(default=None, ge=0, description="number of the answered class")
    base: Text | None = Field(default=None, description="ID or ID:NAME, one side of a comparison")
    candidate: Text | None = Field(default=None, description="ID or ID:NAME, the other side")
    cell: CompareCell | None = Field(default=None, description="of that comparison")
    metric: CellMetric = Field(default="top1_error", description="of that comparison")
    format: Literal["json", "csv"] = "json"

    def filter(self) -> ImageFilter:
        """As the service takes it."""
        return ImageFilter(
            name=self.subject,
            shown=self.show,
            label=self.label,
            predicted=self.predicted,
            base=self.base,
            candidate=self.candidate,
            cell=self.cell,
            metric=self.metric,
        )


@resource.get("/evaluations/<id>/classes", responses=declares({200: CLASSES}, *_CAUSES))
def get_classes(path: IdPath, query: ClassesQuery) -> Response:
    """Show the error of each class with its interval, and its change from a base."""
    document = class_answers.classes(
        runtime().db,
        runtime().artifacts,
        path.id,
        name=query.subject,
        base=query.base,
        sort=query.sort,
        order=query.order,
        cursor=query.cursor if query.format == "json" else None,
        limit=query.limit if query.format == "json" else None,
    )
    if query.format == "csv":
        return _table(documents.class_rows(document), documents.class_columns(document), f"classes-{path.id}")
    return answer(document)


@resource.get("/evaluations/<id>/confusion", responses=declares({200: CONFUSION, 304: NOT_MODIFIED}, *_CAUSES))
def get_confusion(path: IdPath, query: ConfusionQuery) -> Response:
    """Show which classes are taken for which, most frequent first, or the whole matrix as a picture."""
    db, artifacts = runtime().db, runtime().artifacts
    if query.format == "png":
        return _picture(confusion_pictures.picture(db, artifacts, path.id, name=query.subject))
    limit = query.limit if query.format == "json" else None
    document = class_answers.confusion(db, artifacts, path.id, name=query.subject, limit=limit)
    if query.format == "csv":
        rows = (item.model_dump() for item in document.items)
        return _table(rows, documents.CONFUSION_COLUMNS, f"confusion-{path.id}")
    return answer(document)


@resource.get("/evaluations/<id>/calibration", responses=declares({200: CALIBRATION}, *_CAUSES))
def get_calibration(path: IdPath, query: FormatQuery) -> Response:
    """Show reliability curves, ECE, Brier score and NLL of the ensemble and every member."""
    document = calibrations.calibration(runtime().db, runtime().artifacts, path.id)
    if query.format == "csv":
        rows = documents.calibration_rows(document)
        return _table(rows, documents.CALIBRATION_COLUMNS, f"calibration-{path.id}")
    return answer(document)


@resource.get("/evaluations/<id>/agreement", responses=declares({200: AGREEMENT}, *_CAUSES))
def get_agreement(path: IdPath, query: FormatQuery) -> Response:
    """Show how far the members differ, and how many images the ensemble rescues and breaks."""
    document = agreements.agreement(runtime().db, runtime().artifacts, path.id)
    if query.format == "csv":
        return _table(documents.agreement_rows(document), documents.AGREEMENT_COLUMNS, f"agreement-{path.id}")
    return answer(document)


@resource.get("/evaluations/<id>/images", responses=declares({200: IMAGES}, *_CAUSES))
def get_answered_images(path: IdPath, query: ImagesQuery) -> Response:
    """List images by how they were answered, with the likeliest classes by every member and the ensemble."""
    document = answered_images.list_page(
        runtime().db, runtime().artifacts, path.id, query.filter(), cursor=query.cursor, limit=query.limit
    )
    if query.format == "csv":
        return _table(image_documents.image_rows(document), image_documents.IMAGE_COLUMNS, f"images-{path.id}")
    return answer(document)


def _table(rows: Iterable[Mapping[str, Cell]], columns: Sequence[str], name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(csv_table(rows, columns), mimetype="text/csv", headers=headers)


def _picture(png: bytes) -> Response:
    response = Response(png, mimetype="image/png")
    response.set_etag(hashlib.sha256(png).hexdigest()[:32])
    response.headers["Cache-Control"] = "no-cache, private"
    return cast("Response", response.make_conditional(request))
