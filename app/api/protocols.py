"""/protocols."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.blueprints import answer, blueprint, declares
from app.api.schemas import Query, Text
from app.errors import NotFoundError
from app.representations.base import Page
from app.representations.catalogue import ProtocolDocument
from app.services import protocols as service
from ensembles.errors import SpecError
from ensembles.scales import MAX_SIDE, TrainingScale

resource = blueprint("protocols", "Named ways to evaluate, and the views that each expands to.")


class ExpansionQuery(Query):
    """The checkpoint for which protocols are expanded."""

    training_scale: Text | None = Field(
        default=None, description="S or Smin-Smax in px; without it `views` stays null", examples=["256-512"]
    )
    crop: int = Field(default=service.PAPER_CROP, ge=1, le=MAX_SIDE, description="px")
    scale_step: int | None = Field(
        default=None, ge=1, le=MAX_SIDE, description="px between the three scales, in place of the protocol's own"
    )

    def trainee(self) -> service.Trainee | None:
        """What the views depend on; None where the training scale was not given."""
        if self.training_scale is None:
            return None
        return service.Trainee(TrainingScale.parse(self.training_scale), self.crop)


class NamePath(Query):
    """A path that names a preset."""

    name: Text


@resource.get("/protocols", responses=declares({200: Page[ProtocolDocument]}, SpecError))
def list_protocols(query: ExpansionQuery) -> Response:
    """List the named protocols."""
    return answer(Page[ProtocolDocument](items=service.describe_presets(query.trainee(), query.scale_step)))


@resource.get("/protocols/<name>", responses=declares({200: ProtocolDocument}, NotFoundError, SpecError))
def get_protocol(path: NamePath, query: ExpansionQuery) -> Response:
    """Show one named protocol."""
    return answer(service.describe_preset(path.name, query.trainee(), query.scale_step))
