"""/estimates."""

from __future__ import annotations

from flask import Response

from app.access.rules import needs
from app.api.blueprints import answer, blueprint, declares, runtime
from app.representations.estimates import EstimateDocument
from app.representations.requests import EvaluationRequest
from app.services import estimates as service

resource = blueprint("estimates", "What a request would cost before it is made.")


@resource.post("/estimates", responses=declares({200: EstimateDocument}, unsafe=True))
@needs("read")
def estimate_evaluation(body: EvaluationRequest) -> Response:
    """Tell what an evaluation would run, compute, take and reuse; nothing is started or stored."""
    with runtime().db.read() as session:
        return answer(service.estimate(session, body))
