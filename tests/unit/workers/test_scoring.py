"""Scores from stored posteriors, against the same numbers from whole arrays and a reading of the definitions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.services.evaluations import NewScore
from ensembles.calibration import expected_calibration_error, reliability_curve
from ensembles.fusion import geometric_probs, temper, vote_shares
from ensembles.metrics import MIN_PROB
from ensembles.predictions import PosteriorPart, PosteriorParts, save_posteriors
from ensembles.protocols import FusionSpec
from ensembles.specs import ViewSpec
from ensembles.statistics import wilson_interval
from workers import scoring
from workers.scoring import ScoredMember, ScoredView, score_members

N, K = 57, 7
LABELS = np.random.default_rng(3).integers(0, K, N)
ALL = np.ones(N, dtype=np.bool_)
VIEWS = (ViewSpec("dense", 32), ViewSpec("dense", 64), ViewSpec("crops", 32), ViewSpec("crops", 64))


def posteriors(seed: int) -> NDArray[np.float32]:
    scores = np.random.default_rng(seed).normal(0, 2, (N, K))
    scores[np.arange(N), LABELS] += 1
    return (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).astype(np.float32)


class Stored:
    """Posteriors written as part files, with the arrays beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrays: dict[tuple[str, int], NDArray[np.float32]] = {}

    def member(
        self, name: str, views: tuple[ViewSpec, ...], weight: float = 1.0, cuts: tuple[int, ...] = ()
    ) -> ScoredMember:
        return ScoredMember(name, weight, tuple(self._view(name, i, view, cuts) for i, view in enumerate(views)))

    def _view(self, name: str, position: int, view: ViewSpec, cuts: tuple[int, ...]) -> ScoredView:
        probs = self.arrays.setdefault((name, position), posteriors(hash((ord(name), position)) % 1000))
        parts = []
        for start, stop in zip((0, *cuts), (*cuts, N), strict=True):
            path = self.folder / f"{name}-{position}-{start}-{stop}.npy"
            save_posteriors(path, probs[start:stop])
            parts.append(PosteriorPart(start, stop, path))
        return ScoredView(view, PosteriorParts(parts))


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def scores_of(*members: ScoredMember, kept: NDArray[np.bool_] = ALL, n_unreadable: int = 0) -> list[NewScore]:
    return score_members(members, LABELS, kept, n_unreadable, lambda: None).scores


def expected(probs: NDArray[np.floating], labels: NDArray[np.int64] = LABELS) -> tuple[float, ...]:
    """(top-1 error, top-5 error, NLL, ECE, Brier score) by counting, one image after another."""
    wrong1 = wrong5 = 0
    nll = brier = 0.0
    gaps = [0.0] * 15
    for row, label in zip(probs, labels, strict=True):
        ahead = sum(row[other] >= row[label] for other in range(K) if other != label)
        wrong1 += ahead >= 1
        wrong5 += ahead >= 5
        nll -= math.log(row[label])
        brier += sum((float(row[other]) - (other == label)) ** 2 for other in range(K))
        gaps[math.ceil(float(max(row)) * 15) - 1] += float(max(row)) - (ahead == 0)
    ece = sum(map(abs, gaps))
    return tuple(total / len(labels) for total in (wrong1, wrong5, nll, ece, brier))


def values(scores: list[NewScore], position: int) -> tuple[float, ...]:
    by_metric = {score.metric: score.value for score in scores if score.position == position}
    return tuple(by_metric[metric] for metric in ("top1_error", "top5_error", "nll", "ece", "brier"))


def test_rows_are_views_then_modes_then_checkpoints_then_the_ensemble(stored: Stored) -> None:
    scores = scores_of(stored.member("a", VIEWS), stored.member("b", VIEWS[:2]))
    rows = [(s.subject, s.subject_name, s.mode, s.scales) for s in scores if s.metric == "nll"]
    assert rows == [
        ("checkpoint", "a", "dense", [32]),
        ("checkpoint", "a", "dense", [64]),
        ("checkpoint", "a", "crops", [32]),
        ("checkpoint", "a", "crops", [64]),
        ("checkpoint", "b", "dense", [32]),
        ("checkpoint", "b", "dense", [64]),
        ("checkpoint", "a", "dense", [32, 64]),
        ("checkpoint", "a", "crops", [32, 64]),
        ("checkpoint", "b", "dense", [32, 64]),
        ("checkpoint", "a", "both", [32, 64]),
        ("ensemble", "ensemble", None, [32, 64]),
    ]
    assert [s.position for s in scores] == [i // 5 for i in range(55)]
    assert [s.metric for s in scores[:5]] == ["top1_error", "top5_error", "nll", "ece", "brier"]
    assert scores[-1].members == [
        {"checkpoint": "a", "scales": [32, 64], "mode": "both"},
        {"checkpoint": "b", "scales": [32, 64], "mode": "dense"},
    ]


def test_a_row_that_would_repeat_another_is_left_out(stored: Stored) -> None:
    assert len(scores_of(stored.member("a", VIEWS[:1]))) == 5
    both = scores_of(stored.member("b", (VIEWS[0], VIEWS[2])))
    assert [(s.mode, s.scales) for s in both if s.metric == "nll"] == [("dense", [32]), ("crops", [32]), ("both", [32])]


def test_every_number_is_that_of_the_nested_mean_over_whole_arrays(stored: Stored) -> None:
    scores = scores_of(stored.member("a", VIEWS, 3.0), stored.member("b", VIEWS[:2], 1.0))
    a = [stored.arrays["a", i].astype(np.float64) for i in range(4)]
    b = [stored.arrays["b", i].astype(np.float64) for i in range(2)]
    dense, crops = (a[0] + a[1]) / 2, (a[2] + a[3]) / 2
    both, other = (dense + crops) / 2, (b[0] + b[1]) / 2
    for position, probs in enumerate([*a, *b, dense, crops, other, both, (3 * both + other) / 4]):
        assert values(scores, position) == pytest.approx(expected(probs), rel=1e-12)


@pytest.mark.parametrize(("rule", "fused"), [("geometric", geometric_probs), ("vote", vote_shares)])
def test_another_rule_and_a_temperature_fuse_the_members_only(rule: str, fused: Any, stored: Stored) -> None:
    members = [stored.member("a", VIEWS[:2], 3.0), stored.member("b", VIEWS[:2], 1.0)]
    fusion = FusionSpec(rule, temperature=1.5)  # type: ignore[arg-type]
    scores = score_members(members, LABELS, ALL, 0, lambda: None, fusion).scores
    means = [(stored.arrays[name, 0].astype(np.float64) + stored.arrays[name, 1]) / 2 for name in "ab"]
    probs = fused(means, [3.0, 1.0])
    tempered = np.maximum(temper(probs, 1.5), MIN_PROB)
    assert values(scores, 4) == pytest.approx(expected(means[0]), rel=1e-12)
    assert values(scores, 6)[:2] == expected(np.maximum(probs, MIN_PROB))[:2]
    assert values(scores, 6)[2:] == pytest.approx(expected(tempered)[2:], rel=1e-9)


def test_errors_carry_wilson_intervals_and_the_other_metrics_none(stored: Stored) -> None:
    top1, top5, *others = scores_of(stored.member("a", VIEWS[:1]))
    assert (top1.low, top1.high) == wilson_interval(round(top1.value * N), N)
    assert (top5.low, top5.high) == wilson_interval(round(top5.value * N), N)
    assert {(score.low, score.high) for score in others} == {(None, None)}


def test_images_left_out_are_left_out_of_every_row(stored: Stored) -> None:
    kept = np.arange(N) % 3 > 0
    for i in range(4):  # what is left out may be NaN: that is how unreadable images are stored
        stored.arrays["a", i] = np.where(kept[:, None], posteriors(i), np.float32(np.nan))
    scores = scores_of(stored.member("a", VIEWS), kept=kept, n_unreadable=4)
    assert {(s.n, s.n_unreadable) for s in scores} == {(int(kept.sum()), 4)}
    assert values(scores, 0) == pytest.approx(expected(stored.arrays["a", 0][kept], LABELS[kept]), rel=1e-12)


def test_neither_the_cutting_into_files_nor_into_blocks_changes_a_bit(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scores_of(stored.member("a", VIEWS), stored.member("b", VIEWS))
    monkeypatch.setattr(scoring, "_BLOCK_BYTES", 8 * K * 19 * 5)
    cut = scores_of(stored.member("a", VIEWS, cuts=(16, 32)), stored.member("b", VIEWS, cuts=(5, 6, 50)))
    assert cut == whole


def test_only_the_first_images_of_longer_posteriors_are_scored(stored: Stored) -> None:
    member = stored.member("a", VIEWS[:1])
    scores = score_members([member], LABELS[:20], ALL[:20], 0, lambda: None).scores
    assert values(scores, 0) == pytest.approx(expected(stored.arrays["a", 0][:20], LABELS[:20]), rel=1e-12)


def test_members_and_the_ensemble_keep_the_outcome_of_each_image(stored: Stored) -> None:
    kept = np.arange(N) % 3 > 0
    members = (stored.member("a", VIEWS), stored.member("b", VIEWS[:2]), stored.member("c", VIEWS[:1]))
    scored = score_members(members, LABELS, kept, 0, lambda: None)
    names = {score.position: (score.subject, score.subject_name) for score in scored.scores}
    assert [(one.member, names[one.position]) for one in scored.outcomes] == [
        (0, ("checkpoint", "a")),
        (1, ("checkpoint", "b")),
        (2, ("checkpoint", "c")),
        (None, ("ensemble", "ensemble")),
    ]
    a = sum(stored.arrays["a", i].astype(np.float64) for i in range(4)) / 4
    b = (stored.arrays["b", 0].astype(np.float64) + stored.arrays["b", 1]) / 2
    fused = (a + b + stored.arrays["c", 0]) / 3
    for one, probs in zip(scored.outcomes, (a, b, stored.arrays["c", 0], fused), strict=True):
        expected_probs = probs[np.arange(N), LABELS][kept]
        np.testing.assert_allclose(one.outcomes.label_probs, expected_probs, rtol=1e-12)
        np.testing.assert_array_equal(one.outcomes.labels, LABELS[kept])
        np.testing.assert_array_equal(one.outcomes.predicted, probs.argmax(axis=1)[kept])
        top1, top5, nll, ece, brier = values(scored.scores, one.position)
        assert (one.outcomes.wrong(1).mean(), one.outcomes.wrong(5).mean()) == (top1, top5)
        assert one.outcomes.negative_log_likelihoods().mean() == nll
        assert one.outcomes.brier_scores.mean() == brier
        assert expected_calibration_error(reliability_curve(one.outcomes.confidences, ~one.outcomes.wrong())) == ece


def test_outcomes_do_not_depend_on_the_blocks(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    members = (stored.member("a", VIEWS), stored.member("b", VIEWS[:2]))
    whole = score_members(members, LABELS, ALL, 0, lambda: None).outcomes
    monkeypatch.setattr(scoring, "_BLOCK_BYTES", 8 * K * 19 * 5)
    cut = score_members(members, LABELS, ALL, 0, lambda: None).outcomes
    assert [one.outcomes.to_array().tolist() for one in cut] == [one.outcomes.to_array().tolist() for one in whole]
