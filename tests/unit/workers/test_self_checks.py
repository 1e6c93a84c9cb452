"""When a worker takes itself for deaf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.config import Settings
from app.messaging import BrokerUnavailableError, Doorbell
from workers.self_checks import BellWatch, memory_limit, resident_bytes

HALF_A_GIBIBYTE = 2**29


@dataclass
class Heard:
    """A watch over the embedded broker of a temporary folder, looked at by hand."""

    doorbell: Doorbell
    reasons: list[str] = field(default_factory=list)

    def watch(self, queues: Sequence[str] = ("predict",)) -> BellWatch:
        return BellWatch(self.doorbell, queues, patience=60, give_up=self.reasons.append)


@pytest.fixture
def heard(tmp_path: Path) -> Heard:
    return Heard(Doorbell(Settings.from_environment({"SOFTVOTE_HOME": str(tmp_path)})))


def test_a_bell_that_lies_there_for_a_minute_was_not_heard(heard: Heard) -> None:
    watch = heard.watch()
    watch.look(0.0)
    heard.doorbell.ring("predict")
    for now in (10.0, 30.0, 69.0):
        watch.look(now)
    assert heard.reasons == []
    watch.look(70.0)
    assert heard.reasons == ["a doorbell has been waiting for 60 s and was not heard"]


def test_no_bell_is_no_deafness_however_long_it_is_quiet(heard: Heard) -> None:
    watch = heard.watch()
    for now in range(0, 1000, 10):
        watch.look(float(now))
    assert heard.reasons == []


def test_a_worker_at_work_may_let_bells_lie(heard: Heard) -> None:
    watch = heard.watch()
    heard.doorbell.ring("predict")
    watch.look(0.0)
    watch.answered()
    for now in (61.0, 500.0):
        watch.look(now)
    watch.idle()
    watch.look(510.0)
    watch.look(560.0)
    assert heard.reasons == []
    watch.look(570.0)
    assert len(heard.reasons) == 1


def test_a_bell_on_a_queue_of_others_is_none_of_its_concern(heard: Heard) -> None:
    watch = heard.watch(["fuse"])
    heard.doorbell.ring("predict")
    for now in (0.0, 100.0):
        watch.look(now)
    assert heard.reasons == []
    assert heard.doorbell.unanswered(["predict"]) == 1
    assert heard.doorbell.unanswered(["predict", "fuse"]) == 1


def test_a_broker_that_does_not_answer_is_no_sign_of_deafness(tmp_path: Path) -> None:
    settings = {"SOFTVOTE_HOME": str(tmp_path), "SOFTVOTE_BROKER_URL": "redis://127.0.0.1:1/0"}
    silent = Heard(Doorbell(Settings.from_environment(settings)))
    with pytest.raises(BrokerUnavailableError):
        silent.doorbell.unanswered(["predict"])
    watch = silent.watch()
    watch.look(0.0)
    watch.look(100.0)
    assert silent.reasons == []


def test_memory_is_measured_and_its_limit_is_below_what_there_is() -> None:
    before = resident_bytes()
    held = bytearray(HALF_A_GIBIBYTE)
    held[::4096] = b"x" * len(held[::4096])
    assert 0.9 * HALF_A_GIBIBYTE < resident_bytes() - before < 1.2 * HALF_A_GIBIBYTE
    assert resident_bytes() < memory_limit()
