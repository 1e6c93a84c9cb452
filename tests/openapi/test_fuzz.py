"""Requests made up from the document: whatever they are, the answer is one that the document announces, and no 500."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.factory import create_app
from tests.integration.harness import Deployment, deployment
from tests.people import People

#: Made-up requests over the whole document; with SOFTVOTE_TEST_API_EXAMPLES=2000 it takes minutes.
EXAMPLES = int(os.environ.get("SOFTVOTE_TEST_API_EXAMPLES", "500"))

#: Every check of schemathesis. Whether a name exists, a path is allowed, a cursor was given out or a version is the
#: present one, no schema tells, so that a request which fits its schema may still be refused by the statuses for that.
CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "404", "409", "412", "422", "428"]}
        }
    }
)
API = "/api/v1"


@pytest.mark.slow
def test_every_answer_to_made_up_requests_is_one_that_the_document_announces(tmp_path: Path) -> None:
    """By an admin's token, so that what the document says of tokens is checked too."""
    with deployment(tmp_path, settings={"SOFTVOTE_AUTH": "users", "SOFTVOTE_PUBLIC_URL": "http://localhost"}) as made:
        people = People(made.runtime)
        people.add("ada", "admin")
        headers = {"Authorization": f"Bearer {people.token('ada', 'read', 'run', 'admin')}"}
        app = create_app(made.runtime)
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = headers["Authorization"]
        existing = fill(made, client)
        schema = schemathesis.openapi.from_wsgi(f"{API}/openapi.json", app, config=CONFIG, headers=headers)
        operations = [result.ok() for result in schema.get_all_operations()]
        assert len(operations) > 20
        asked = 0

        for operation in operations:

            @settings(
                max_examples=math.ceil(EXAMPLES / len(operations)),
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(), exists=st.booleans())
            def answers_as_announced(case: schemathesis.Case, exists: bool) -> None:
                nonlocal asked
                asked += 1
                people.forget_rates()
                for name in case.path_parameters if exists else ():
                    resource = case.path.partition(f"{{{name}}}")[0].rstrip("/").rpartition("/")[2]
                    case.path_parameters[name] = existing.get(resource, case.path_parameters[name])
                case.call_and_validate(headers=headers)

            answers_as_announced()
        # Operations without parameters have few different requests.
        assert asked >= 0.8 * EXAMPLES


def fill(made: Deployment, client: FlaskClient) -> dict[str, str]:
    """A finished evaluation, one that waits, and one thing of every other resource: its id by the resource's name."""
    made.add_images("digits", count=20)
    made.add_checkpoint("one")
    made.add_checkpoint("two", seed=1)
    done = made.submit(["one", "two"], dataset="digits", protocol={"scales": [34]})
    made.run(done)
    made.submit(["one"], dataset="digits", protocol="ten-crop")

    def create(resource: str, **body: Any) -> str:
        answer = client.post(f"{API}/{resource}", json=body)
        assert answer.is_json, answer.data
        assert answer.status_code in (201, 202), answer.json
        return str(answer.json["id"])

    assert client.put(f"{API}/baselines/production", json={"reference": f"{done}:one"}).status_code == 204
    target = {"dataset": "digits", "checkpoints": ["one"], "protocol": {"scales": [34]}}
    member = {"checkpoint": "one", "mode": "dense", "scales": [34]}
    return {
        "datasets": "digits",
        "checkpoints": "one",
        "protocols": "ten-crop",
        "evaluations": done,
        "badges": done,
        "baselines": "production",
        "gates": create("gates", baseline="production", candidate=f"{done}:two"),
        "ensembles": create("ensembles", name="alone", members=[member]),
        "schedules": create("schedules", name="nightly", cron="30 2 * * *", timezone="Europe/Berlin", target=target),
        "webhooks": create("webhooks", url="https://ci.example.org/", events=["gate.fail"]),
        "tokens": create("tokens", name="ci", scopes=["read"]),
        "users": create("users", name="bob", role="viewer", password="correct horse battery"),
    }
