"""What the builder's page says in the browser, run by node, against what the server says."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.dashboard import formatting
from ensembles.statistics import wilson_interval

MODULE = Path("app/dashboard/static/weighing.js").resolve()
ANSWERS = Path(__file__).with_name("weighing_answers.mjs")

Ask = Callable[[list[list[Any]]], list[Any]]


@pytest.fixture(scope="module")
def ask() -> Ask:
    """Asks functions of the module, many at once."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("SOFTVOTE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail("SOFTVOTE_TEST_REQUIRE_SERVICES=1, and there is no `node` on the PATH")
        pytest.skip("there is no `node` on the PATH")

    def ask(questions: list[list[Any]]) -> list[Any]:
        lines = "\n".join(map(json.dumps, questions))
        done = subprocess.run([node, ANSWERS, MODULE], input=lines, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


def test_every_error_of_some_numbers_of_images_reads_as_on_the_server(ask):
    cases = [(wrong, n) for n in (1, 7, 80, 96, 160, 999, 1000, 1797, 3200) for wrong in range(n + 1)]
    said = ask([["percent", wrong / n, n] for wrong, n in cases])
    assert said == [formatting.percent(wrong / n, n) for wrong, n in cases]
    said = ask([["points", sign * wrong / n, n] for wrong, n in cases for sign in (1, -1)])
    assert said == [formatting.points(sign * wrong / n, n) for wrong, n in cases for sign in (1, -1)]


def test_intervals_and_counts_are_the_servers(ask):
    cases = [(0, 1), (1, 1), (0, 50000), (50000, 50000), (3, 240), (12151, 50000), (437, 1797)]
    said = ask([["wilson", wrong, n] for wrong, n in cases])
    for (wrong, n), found in zip(cases, said, strict=True):
        assert found == pytest.approx(wilson_interval(wrong, n), rel=1e-12)
    numbers = [0, 7, 999, 1000, 12345, 1234567]
    assert ask([["count", number] for number in numbers]) == [formatting.count(number) for number in numbers]


def test_images_that_are_mended_and_broken_are_counted(ask):
    generator = np.random.default_rng(5)
    ranks, reference = generator.integers(0, 6, (2, 500))
    here, there = ranks >= 1, reference >= 1
    (compared, at_1, at_5) = ask(
        [
            ["compared", ranks.tolist(), reference.tolist()],
            ["wrongAt", ranks.tolist(), 1],
            ["wrongAt", ranks.tolist(), 5],
        ]
    )
    assert compared == {
        "wrong": there.sum(),
        "fixed": (there & ~here).sum(),
        "broken": (here & ~there).sum(),
    }
    assert (at_1, at_5) == ((ranks >= 1).sum(), (ranks >= 5).sum())
