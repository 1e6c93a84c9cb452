"""The table of contenders of evaluations that real workers ran, against the errors that the evaluations report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import InvalidRequestError, SearchTooLargeError
from app.factory import create_app
from app.services.searching import contender_tables, weightings
from ensembles.contender_bytes import from_bytes
from ensembles.fusion import average_probs, combine_views
from ensembles.metrics import top_k_errors
from ensembles.predictions import read_rows
from tests.integration.harness import Deployment, deployment

IMAGES = 60
CHECKPOINTS = {"a": ("A", 1), "b": ("B", 2), "c": ("A", 3)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("fused")) as made:
        made.add_images(count=IMAGES)
        for name, (configuration, seed) in CHECKPOINTS.items():
            made.add_checkpoint(name, configuration=configuration, seed=seed)
        yield made


@pytest.fixture(scope="module")
def evaluation_id(made: Deployment) -> str:
    key = made.submit(list(CHECKPOINTS), fusion={"weights": [1.0, 2.0, 1.0]})
    assert made.run(key).status == "succeeded"
    return key


def get(made: Deployment, address: str, **headers: str) -> Any:
    return create_app(made.runtime).test_client().get(f"/api/v1/evaluations/{address}", headers=headers)


@pytest.mark.parametrize("over", ["checkpoints", "modes", "views"])
def test_the_bytes_give_the_errors_of_the_evaluations_scores(made: Deployment, evaluation_id: str, over: str) -> None:
    table = from_bytes(get(made, f"{evaluation_id}/contenders").data)
    units = get(made, f"{evaluation_id}/contenders/units?over={over}").json
    assert (len(table), units["images"]) == (IMAGES, IMAGES)
    assert len({sum(unit["leaves"]) for unit in units["units"]}) == 1
    own = np.array([unit["own_weight"] for unit in units["units"]], dtype=int)
    leaves = own @ np.array([unit["leaves"] for unit in units["units"]])
    scores = {s.metric: s.value for s in made.scores(evaluation_id) if s.subject == "ensemble"}
    for k in (1, 5):
        assert table.error_counts([leaves.tolist()], k)[0] / IMAGES == scores[f"top{k}_error"]


@pytest.mark.parametrize(("over", "weights"), [("checkpoints", [20, 0, 70]), ("modes", [50, 50, 0, 30, 100, 1])])
def test_a_weighting_is_counted_as_the_stored_posteriors_fuse(
    made: Deployment, evaluation_id: str, over: Any, weights: list[int]
) -> None:
    found = contender_tables.find(made.runtime.db, made.runtime.artifacts, evaluation_id, over)
    everyone = np.arange(IMAGES)
    units = [
        combine_views(unit.views, [read_rows(leaf.parts, everyone) for leaf in unit.leaves]) for unit in found.units
    ]

    def wrong(weighting: list[int], k: int = 1) -> NDArray[np.bool_]:
        return top_k_errors(average_probs(units, weighting), found.index.labels, k)

    counted = weightings.weigh(made.runtime.artifacts, found, weights, "mean")
    assert counted.images == IMAGES
    assert (counted.chosen.top1_wrong, counted.chosen.top5_wrong) == (wrong(weights).sum(), wrong(weights, 5).sum())
    alone = [[int(unit == one) for one in range(len(weights))] for unit in range(len(weights))]
    rest = [[0 if one == unit else w for one, w in enumerate(weights)] for unit in range(len(weights))]
    others = [counted.equal, *counted.singles, *counted.without]
    for asked, other in zip([[1] * len(weights), *alone, *rest], others, strict=True):
        if other is None:
            assert weights == asked
            continue
        there, here = wrong(asked), wrong(weights)
        assert (other.top1_wrong, other.top5_wrong) == (there.sum(), wrong(asked, 5).sum())
        assert (other.fixed, other.broken) == ((there & ~here).sum(), (here & ~there).sum())
    fewest = [(single.top1_wrong, single.top5_wrong) for single in counted.singles]
    assert counted.best == fewest.index(min(fewest))


@pytest.mark.parametrize(
    ("weights", "rule", "field"),
    [
        ([1, 1], "mean", "weights"),
        ([0, 0, 0], "mean", "weights"),
        ([1, 1, 101], "mean", "weights"),
        ([1, -1, 1], "mean", "weights"),
        ([1, 1, 1], "geometric", "rule"),
    ],
)
def test_weights_and_rules_that_have_no_answer_are_refused_by_the_field(
    made: Deployment, evaluation_id: str, weights: list[int], rule: Any, field: str
) -> None:
    found = contender_tables.find(made.runtime.db, made.runtime.artifacts, evaluation_id, "checkpoints")
    with pytest.raises(InvalidRequestError) as caught:
        weightings.weigh(made.runtime.artifacts, found, weights, rule)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_what_a_client_has_is_not_sent_again_and_what_is_kept_is_not_made_again(
    made: Deployment, evaluation_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = get(made, f"{evaluation_id}/contenders")
    assert first.mimetype == "application/octet-stream"
    version = get(made, f"{evaluation_id}/contenders/units").json["version"]
    assert first.headers["ETag"] == f'"{version}"'
    again = get(made, f"{evaluation_id}/contenders", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    with monkeypatch.context() as refusing:
        refusing.setattr(contender_tables, "MAX_POSTERIORS", 1)
        assert get(made, f"{evaluation_id}/contenders").data == first.data


def test_a_kept_table_that_was_damaged_is_made_again(made: Deployment, evaluation_id: str) -> None:
    first = get(made, f"{evaluation_id}/contenders").data
    (stored,) = made.runtime.artifacts.path("contenders").iterdir()
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-8] + b"\1" + whole[-7:])
    assert get(made, f"{evaluation_id}/contenders").data == first
    assert stored.read_bytes() == whole


def test_another_selection_of_images_is_another_table(made: Deployment, evaluation_id: str) -> None:
    fewer = made.submit(list(CHECKPOINTS), limit=20)
    made.run(fewer)
    assert len(from_bytes(get(made, f"{fewer}/contenders").data)) == 20
    etags = {get(made, f"{key}/contenders").headers["ETag"] for key in (fewer, evaluation_id)}
    assert len(etags) == 2


def test_more_posteriors_than_a_web_process_reads_are_refused(
    made: Deployment, evaluation_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stored in made.runtime.artifacts.path("contenders").iterdir():
        stored.unlink()
    monkeypatch.setattr(contender_tables, "MAX_POSTERIORS", 10)
    with made.runtime.db.read():
        found = contender_tables.find(made.runtime.db, made.runtime.artifacts, evaluation_id)
    with pytest.raises(SearchTooLargeError):
        contender_tables.table(made.runtime.artifacts, found)
    assert get(made, f"{evaluation_id}/contenders").json["code"] == "search_too_large"


def test_an_evaluation_that_is_unknown_or_has_not_succeeded_has_no_table(made: Deployment) -> None:
    waiting = made.submit(["a"], protocol={"scales": [64]})
    assert get(made, f"{waiting}/contenders").status_code == 409
    assert get(made, "0123456789abcdef01234567/contenders").status_code == 404
