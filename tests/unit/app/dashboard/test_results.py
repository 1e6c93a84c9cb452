from app.dashboard.results import Results, summarise
from app.representations.evaluations import ScoreDocument, ScoreMember


def row(
    name: str, scales: list[int] | None, mode: str | None, wrong: int, *, subject: str = "checkpoint", n: int = 1000
) -> list[ScoreDocument]:
    members = [ScoreMember(checkpoint=name, scales=scales or [256], mode=mode or "dense")]  # type: ignore[arg-type]
    shared = {
        "subject": subject,
        "subject_name": name,
        "members": members,
        "scales": scales,
        "mode": mode,
        "n": n,
        "n_unreadable": 2,
    }
    return [
        ScoreDocument(metric="top1_error", value=wrong / n, low=wrong / n / 2, high=wrong / n * 2, **shared),  # type: ignore[arg-type]
        ScoreDocument(metric="nll", value=wrong / 100, low=None, high=None, **shared),  # type: ignore[arg-type]
    ]


def both_modes(name: str, wrong: list[int]) -> list[ScoreDocument]:
    views = [([q], mode) for mode in ("dense", "crops") for q in (256, 384)]
    wholes = [([256, 384], mode) for mode in ("dense", "crops", "both")]
    return [
        score
        for (scales, mode), errors in zip(views + wholes, wrong, strict=True)
        for score in row(name, scales, mode, errors)
    ]


def summary(scores: list[ScoreDocument]) -> Results:
    results = summarise(scores)
    assert results is not None
    return results


def test_no_scores_make_no_results() -> None:
    assert summarise([]) is None


def test_a_member_is_the_last_of_its_rows_and_its_parts_lie_below_it_mode_by_mode() -> None:
    (group,) = summary(both_modes("d", [80, 81, 82, 83, 70, 71, 60])).groups
    assert [(r.kind, r.depth, r.mode, r.scales) for r in group] == [
        ("member", 0, "both", (256, 384)),
        ("mode", 1, "dense", (256, 384)),
        ("view", 2, "dense", (256,)),
        ("view", 2, "dense", (384,)),
        ("mode", 1, "crops", (256, 384)),
        ("view", 2, "crops", (256,)),
        ("view", 2, "crops", (384,)),
    ]
    assert [round(1000 * r.scores["top1_error"].value) for r in group] == [60, 70, 80, 81, 71, 82, 83]


def test_members_whose_rows_are_stored_level_by_level_are_told_apart() -> None:
    rows = [*zip(*[iter(both_modes("d", [80, 81, 82, 83, 70, 71, 60]))] * 2, strict=True)]
    others = [*zip(*[iter(both_modes("e", [90, 91, 92, 93, 72, 73, 61]))] * 2, strict=True)]
    levels = (slice(0, 4), slice(4, 6), slice(6, 7))
    stored = [score for level in levels for pair in (*rows[level], *others[level]) for score in pair]
    results = summary(stored)
    assert [len(group) for group in results.groups] == [7, 7]
    assert [round(1000 * member.scores["top1_error"].value) for member in results.members] == [60, 61]


def test_the_only_view_of_a_member_is_the_member() -> None:
    (group,) = summary(row("d", [256], "dense", 50)).groups
    assert [(r.kind, r.depth) for r in group] == [("member", 0)]


def test_views_of_a_single_mode_lie_directly_below_the_member() -> None:
    scores = row("d", [256], "dense", 50) + row("d", [384], "dense", 51) + row("d", [256, 384], "dense", 49)
    (group,) = summary(scores).groups
    assert [(r.kind, r.depth) for r in group] == [("member", 0), ("view", 1), ("view", 1)]


def test_the_gain_is_against_the_member_with_the_lowest_top1_error() -> None:
    scores = (
        row("d", [256], "dense", 50)
        + row("e", [256], "dense", 40)
        + row("ensemble", [256], "dense", 30, subject="ensemble")
    )
    gain = summary(scores).gain
    assert gain is not None
    assert gain.member.name == "e"
    assert gain.fewer_errors == 10
    assert round(gain.difference, 9) == -0.01
    assert gain.relative is not None
    assert round(gain.relative, 9) == 0.25


def test_an_ensemble_that_is_worse_has_a_negative_gain_and_a_faultless_member_no_relative_one() -> None:
    scores = (
        row("d", [256], "dense", 0) + row("e", [256], "dense", 40) + row("ensemble", None, None, 3, subject="ensemble")
    )
    gain = summary(scores).gain
    assert gain is not None
    assert gain.fewer_errors == -3
    assert gain.relative is None


def test_one_member_alone_is_the_headline_and_has_no_gain() -> None:
    results = summary(row("d", [256], "dense", 50))
    assert results.headline.name == "d"
    assert results.ensemble is None
    assert results.gain is None


def test_every_row_that_shares_the_lowest_value_of_a_column_is_marked() -> None:
    scores = (
        row("d", [256], "dense", 30)
        + row("e", [256], "dense", 40)
        + row("ensemble", None, None, 30, subject="ensemble")
    )
    results = summary(scores)
    assert {group[0].name: sorted(group[0].best) for group in results.groups} == {
        "d": ["nll", "top1_error"],
        "e": [],
        "ensemble": ["nll", "top1_error"],
    }


def test_only_metrics_with_intervals_have_an_axis_which_holds_all_of_them() -> None:
    axes = summary(row("d", [256], "dense", 50) + row("e", [256], "dense", 10)).axes
    assert list(axes) == ["top1_error"]
    assert axes["top1_error"].low <= 0.005
    assert axes["top1_error"].high >= 0.1


def test_panels_are_drawn_only_where_a_member_has_two_views() -> None:
    assert summary(row("d", [256], "dense", 50)).panels == ()
    (panel,) = summary(both_modes("d", [80, 81, 82, 83, 70, 71, 60])).panels
    assert [(p.mode, p.scale, p.value) for p in panel.points] == [
        ("dense", 256, 0.08),
        ("dense", 384, 0.081),
        ("crops", 256, 0.082),
        ("crops", 384, 0.083),
    ]
    assert panel.combined == 0.06


def test_a_checkpoint_called_ensemble_is_not_taken_for_the_ensemble() -> None:
    results = summary(row("ensemble", [256], "dense", 50) + row("e", [256], "dense", 40))
    assert results.ensemble is None
    assert [member.name for member in results.members] == ["ensemble", "e"]
