"""Requests made up from the document: whatever they are, the answer is one that the document announces, and no 500."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.factory import create_app
from tests.app_builders import Service, make_runtime

SETTINGS = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
def test_every_answer_to_made_up_requests_is_one_that_the_document_announces(tmp_path: Path) -> None:
    service = Service(make_runtime(tmp_path / "home"))
    existing = {"datasets": service.add_dataset("digits"), "checkpoints": service.add_checkpoint("one")}
    existing |= {"evaluations": service.submit("one"), "protocols": "ten-crop"}
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", create_app(service.runtime))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @SETTINGS
        @given(case=operation.as_strategy(), exists=st.booleans())
        def answers_as_announced(case: schemathesis.Case, exists: bool) -> None:
            resource = case.path.split("/")[3] if case.path_parameters else ""
            if exists and resource in existing:
                case.path_parameters = dict.fromkeys(case.path_parameters, existing[resource])
            # Whether a name exists, or a cursor was given out, no schema tells.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answers_as_announced()
    service.runtime.db.dispose()
