"""The browser's arithmetic, run by node, against rational arithmetic and the library's."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ensembles.contender_bytes import to_bytes
from ensembles.contenders import find_contenders
from tests.rational_oracle import awkward_members, oracle_wrong

MODULE = Path("app/dashboard/static/contenders.js").resolve()
LINES = Path(__file__).with_name("contenders_lines.mjs")

Question = tuple[list[int], int, str]
Ask = Callable[[bytes, list[Question]], dict[str, Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Asks a node process that has the module loaded."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("SOFTVOTE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail("SOFTVOTE_TEST_REQUIRE_SERVICES=1, and there is no `node` on the PATH")
        pytest.skip("there is no `node` on the PATH")
    process = subprocess.Popen(
        [node, str(LINES), str(MODULE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(table: bytes, asked: list[Question]) -> dict[str, Any]:
        process.stdin.write(json.dumps({"table": base64.b64encode(table).decode(), "asked": asked}) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    yield ask
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(awkward_members(), st.sampled_from([(1,), (1, 5), (1, 2, 3)]), st.data())
def test_any_whole_weights_have_the_errors_of_rational_arithmetic(ask, made, ks, data):
    members, labels = made
    weights = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 100)), min_size=len(members), max_size=len(members))
    several = data.draw(st.lists(weights.filter(any), min_size=1, max_size=4))
    asked = [(each, k, rule) for each in several for k in ks for rule in ("mean", "geometric")]
    answers = ask(to_bytes(find_contenders(members, labels, ks=ks)), asked)["answers"]
    for (each, k, rule), (wrong, count) in zip(asked, answers, strict=True):
        expected = oracle_wrong(members, labels, each, k, rule)
        assert (wrong, count) == ([int(one) for one in expected], sum(expected)), (each, k, rule)


def of_one_image(*members: tuple[float, float]) -> bytes:
    """The table of one image with two classes, of which the first is its label."""
    return to_bytes(find_contenders([np.array([row], np.float32) for row in members], np.array([0])))


#: Two members whose leads, a half each, cancel.
CANCEL = ((0.25, 0.75), (0.75, 0.25))


def test_a_tie_of_permuted_posteriors_counts_against_the_label(ask):
    table = of_one_image((0.1, 0.3), (0.2, 0.1), (0.3, 0.2))
    assert ask(table, [([1, 1, 1], 1, "mean"), ([1, 1, 1], 1, "geometric")])["answers"] == [[[1], 1], [[1], 1]]
    table = of_one_image((0.1, 0.3), (0.2, 0.1), (float(np.nextafter(np.float32(0.3), np.float32(1))), 0.2))
    assert ask(table, [([1, 1, 1], 1, "mean"), ([1, 1, 1], 1, "geometric")])["answers"] == [[[0], 0], [[0], 0]]


@pytest.mark.parametrize(
    ("leads", "wrong"),
    [
        (((1e-30, 0.0),), 0),
        (((0.0, 1e-30),), 1),
        # One unit of the last place apart, which doubles lose beside a half.
        (((2**-34 + 2**-57, 2**-34),), 0),
        # 2^23 + 1 of the smallest float32, two of them without a leading one, against the smallest that has one.
        (((0.0, 2**-126), (2**-126 - 2**-149, 0.0), (2**-148, 0.0)), 0),
        (((0.0, 2**-126), (2**-126 - 2**-149, 0.0), (2**-149, 0.0)), 1),
    ],
)
def test_sums_that_doubles_cannot_tell_from_zero_are_settled_in_whole_numbers(ask, leads, wrong):
    members = (*leads, *CANCEL)
    answers = ask(of_one_image(*members), [([1] * len(members), 1, "mean")])["answers"]
    assert answers == [[[wrong], wrong]]


def test_weights_near_the_limit_of_whole_doubles_are_exact(ask):
    members = [np.array([[0.5, 0.25]], np.float32), np.array([[0.25, 0.5]], np.float32)]
    table = to_bytes(find_contenders(members, np.array([0])))
    half = 2**52
    asked = [([half - 1, half], 1, "mean"), ([half, half - 1], 1, "mean"), ([half, half], 1, "mean")]
    refused = ask(table, asked)
    assert refused["error"].startswith("weights: 2 whole numbers >= 0")
    assert [count for _, count in ask(table, asked[:2])["answers"]] == [1, 0]


def test_the_numbers_of_a_large_table_are_the_librarys(ask):
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 100, 2000)
    shared = generator.normal(size=(2000, 100))
    shared[np.arange(2000), labels] += 2
    logits = 1.5 * (shared + 0.6 * generator.normal(size=(7, 2000, 100)))
    probs = np.exp(logits)
    members = list((probs / probs.sum(axis=-1, keepdims=True)).astype(np.float32))
    table = find_contenders(members, labels)
    weights = [generator.integers(0, 101, 7).tolist() for _ in range(20)]
    asked = [(each, k, rule) for rule in ("mean", "geometric") for k in (1, 5) for each in weights]
    counts = [count for _, count in ask(to_bytes(table), asked)["answers"]]
    expected = [table.error_counts(weights, k, rule).tolist() for rule in ("mean", "geometric") for k in (1, 5)]
    assert counts == [count for some in expected for count in some]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: b"XXXX" + data[4:], "not a table of contenders"),
        (lambda data: data[:4] + b"\2" + data[5:], "version 2, not 1"),
        (lambda data: data[:-8], "the table is cut short"),
        (lambda data: data + bytes(8), "the table is longer than its header says"),
        (lambda data: data[:20], "not a table of contenders"),
    ],
)
def test_bytes_that_are_no_table_are_refused(ask, spoil, words):
    members = [np.array([[0.5, 0.25]], np.float32), np.array([[0.25, 0.5]], np.float32)]
    data = to_bytes(find_contenders(members, np.array([0])))
    assert ask(spoil(data), []) == {"error": words}


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (([1, -1], 1, "mean"), "weights"),
        (([0, 0], 1, "mean"), "weights"),
        (([0.5, 1], 1, "mean"), "weights"),
        (([1], 1, "mean"), "weights"),
        (([1, 1], 2, "mean"), "k: one of 1, 5, not 2"),
        (([1, 1], 1, "vote"), "rule: mean or geometric, not vote"),
    ],
)
def test_questions_that_break_a_rule_are_refused_by_name(ask, question, words):
    members = [np.array([[0.5, 0.25]], np.float32), np.array([[0.25, 0.5]], np.float32)]
    assert words in ask(to_bytes(find_contenders(members, np.array([0]))), [question])["error"]


def test_ties_of_logarithms_are_settled_by_products(ask):
    generator = np.random.default_rng(1)
    for _ in range(30):
        own = generator.uniform(0.01, 0.4, 5).astype(np.float32)
        other = own[generator.permutation(5)]
        if (own != other).any():
            table = of_one_image(*zip(own.tolist(), other.tolist(), strict=True))
            assert ask(table, [([1] * 5, 1, "geometric")])["answers"] == [[[1], 1]]


def test_logarithms_that_nobody_can_tell_apart_count_against_the_label(ask):
    table = of_one_image(*CANCEL, (0.5, 0.5))
    assert ask(table, [([5000, 5000, 1], 1, "geometric")])["answers"] == [[[1], 1]]
