"""Every kind of fault once, against real processes of both stacks, from a fixed seed; `make torture` does 1,000."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Deployment, deployment
from tests.nemesis.run import fill, run
from tests.nemesis.servers import missing_programs

needs_servers = pytest.mark.skipif(bool(missing_programs()), reason=f"needs {' and '.join(missing_programs())}")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        fill(made)
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stack", "faults"), [("sqlite", 17), pytest.param("services", 21, marks=[pytest.mark.services, needs_servers])]
)
def test_f10_f16_nothing_is_lost_or_done_twice_whatever_is_killed_frozen_or_damaged(
    stack: str, faults: int, filled: Deployment, tmp_path: Path
) -> None:
    outcome = run(filled, tmp_path, stack=stack, faults=faults, seed=1)
    assert outcome.ok, str(outcome)
    assert outcome.faults.total() == len(outcome.faults) == faults
    assert outcome.report.acknowledged >= 4
