"""Registrations and verdicts that are asked for twice with one key are made once, on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from app.db.models import Checkpoint, Dataset, Gate, WorkItem
from app.errors import IdempotencyConflictError, NameTakenError, PathForbiddenError
from app.representations.gates import GateRequest
from app.representations.requests import CheckpointRequest, DatasetRequest
from app.runtime import Runtime
from app.services import checkpoints, datasets
from app.services.comparing import gates
from ensembles.configurations import Architecture
from tests.catalogue import Catalogue
from tests.history import History

AT_ONCE = 8


def count(catalogue: Catalogue, table: type[Checkpoint] | type[Dataset] | type[Gate] | type[WorkItem]) -> int:
    with catalogue.db.read() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def at_once(make: Callable[[int], str]) -> list[str | type[Exception]]:
    """What each of eight equal calls gives, or refuses with."""
    barrier = threading.Barrier(AT_ONCE)

    def call(number: int) -> str | type[Exception]:
        barrier.wait()
        try:
            return make(number)
        except (IdempotencyConflictError, NameTakenError) as error:
            return type(error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(call, range(AT_ONCE)))


@pytest.fixture
def weights(catalogue: Catalogue) -> str:
    """A file to register."""
    (catalogue.settings.checkpoint_roots[0] / "w.safetensors").write_bytes(b"weights")
    (catalogue.settings.checkpoint_roots[0] / "other.safetensors").write_bytes(b"weights")
    return "w.safetensors"


def register(catalogue: Catalogue, path: str, name: str = "a", key: str | None = "k") -> str:
    request = CheckpointRequest(path=path, name=name)
    return checkpoints.request_registration(catalogue.db, catalogue.settings, request, idempotency_key=key)


def test_equal_registrations_at_once_make_one_checkpoint(catalogue: Catalogue, weights: str) -> None:
    made = at_once(lambda _: register(catalogue, weights))
    assert len(set(made)) == 1
    assert (count(catalogue, Checkpoint), count(catalogue, WorkItem)) == (1, 1)


def test_without_a_key_the_second_registration_finds_the_name_taken(catalogue: Catalogue, weights: str) -> None:
    made = at_once(lambda _: register(catalogue, weights, key=None))
    assert Counter(one is NameTakenError for one in made) == {True: AT_ONCE - 1, False: 1}


def test_of_two_registrations_with_one_key_the_other_is_refused(catalogue: Catalogue, weights: str) -> None:
    made = at_once(lambda number: register(catalogue, weights, name=f"n{number % 2}"))
    assert Counter(one is IdempotencyConflictError for one in made) == {True: AT_ONCE // 2, False: AT_ONCE // 2}
    assert count(catalogue, Checkpoint) == 1


def test_a_repeat_is_answered_although_the_file_is_gone_and_a_refusal_leaves_the_key_free(
    catalogue: Catalogue, weights: str
) -> None:
    with pytest.raises(PathForbiddenError):
        register(catalogue, "missing.safetensors")
    first = register(catalogue, weights)
    (catalogue.settings.checkpoint_roots[0] / weights).unlink()
    assert register(catalogue, weights) == first


def test_a_deleted_checkpoint_frees_its_key(catalogue: Catalogue, weights: str) -> None:
    first = register(catalogue, weights)
    checkpoints.delete(catalogue.db, first)
    assert register(catalogue, weights) != first
    assert count(catalogue, Checkpoint) == 1


def test_one_key_may_be_used_for_a_checkpoint_and_a_data_set(catalogue: Catalogue, weights: str) -> None:
    (catalogue.settings.data_roots[0] / "photos").mkdir()
    request = DatasetRequest(path="photos", name="photos")
    checkpoint = register(catalogue, weights)
    made = at_once(
        lambda _: datasets.request_registration(catalogue.db, catalogue.settings, request, idempotency_key="k")
    )
    assert len({checkpoint, *made}) == 2
    assert count(catalogue, Dataset) == 1


def test_equal_verdicts_at_once_are_one(catalogue: Catalogue) -> None:
    history = History(Runtime(catalogue.settings, catalogue.db, catalogue.artifacts), macs_per_second=1e15)
    history.dataset("digits", images=60, classes=tuple("0123456789"))
    for name in ("one", "two"):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
    done = history.submit(dataset="digits", checkpoints=["one", "two"], protocol={"scales": [32]})
    history.predict()
    history.finish(done, [9, 8, 7])
    request = GateRequest(baseline=f"{done}:one", candidate=f"{done}:two")
    made = at_once(lambda _: gates.judge(catalogue.db, catalogue.artifacts, request, idempotency_key="k"))
    assert len(set(made)) == 1
    assert count(catalogue, Gate) == 1
    gates.judge(catalogue.db, catalogue.artifacts, request)
    assert count(catalogue, Gate) == 2
    with pytest.raises(IdempotencyConflictError):
        gates.judge(catalogue.db, catalogue.artifacts, request.model_copy(update={"margin": 0.1}), idempotency_key="k")
