"""The paper's tables as data, and measurements beside them."""

import pytest

from ensembles.configurations import Architecture
from ensembles.paper import TABLE_2, TABLES, NetworkAtScales, PrintedRow
from ensembles.paper_rows import (
    LaidOutRow,
    Measurement,
    cell_verdict,
    lay_out,
    network_departures,
    protocol_departures,
    tables_of,
)
from ensembles.protocols import Protocol
from ensembles.scales import TrainingScale

JITTERED = TrainingScale(256, 512)


def network(
    configuration: str = "D", scale: TrainingScale = JITTERED, scales: tuple[int, ...] = (256, 384, 512)
) -> NetworkAtScales:
    return NetworkAtScales(configuration, scale, scales)


def rows(table: int) -> list[tuple[str, str, float | None, float | None, float | None]]:
    return [
        ("+".join(map(str, r.members)) or r.label, r.method or "", r.top1_val, r.top5_val, r.top5_test)
        for r in TABLES[table]
    ]


def test_table_3_is_printed_right() -> None:
    cells = {
        (r.members[0].configuration, str(r.members[0].training_scale), r.members[0].scales): (r.top1_val, r.top5_val)
        for r in TABLES[3]
    }
    assert cells == {
        ("A", "256", (256,)): (29.6, 10.4),
        ("A-LRN", "256", (256,)): (29.7, 10.5),
        ("B", "256", (256,)): (28.7, 9.9),
        ("C", "256", (256,)): (28.1, 9.4),
        ("C", "384", (384,)): (28.1, 9.3),
        ("C", "[256;512]", (384,)): (27.3, 8.8),
        ("D", "256", (256,)): (27.0, 8.8),
        ("D", "384", (384,)): (26.8, 8.7),
        ("D", "[256;512]", (384,)): (25.6, 8.1),
        ("E", "256", (256,)): (27.3, 9.0),
        ("E", "384", (384,)): (26.9, 8.7),
        ("E", "[256;512]", (384,)): (25.5, 8.0),
    }


def test_table_4_is_printed_right() -> None:
    assert [row[0] for row in rows(4)][:3] == ["B/256/224,256,288", "C/256/224,256,288", "C/384/352,384,416"]
    assert [(row[2], row[3]) for row in rows(4)] == [
        (28.2, 9.6),
        (27.7, 9.2),
        (27.8, 9.2),
        (26.3, 8.2),
        (26.6, 8.6),
        (26.5, 8.6),
        (24.8, 7.5),
        (26.9, 8.7),
        (26.7, 8.6),
        (24.8, 7.5),
    ]


def test_tables_5_and_6_are_printed_right() -> None:
    assert [(row[1], row[2], row[3]) for row in rows(5)] == [
        ("dense", 24.8, 7.5),
        ("crops", 24.6, 7.5),
        ("both", 24.4, 7.2),
        ("dense", 24.8, 7.5),
        ("crops", 24.6, 7.4),
        ("both", 24.4, 7.1),
    ]
    assert [row[2:] for row in rows(6)] == [(24.7, 7.5, 7.3), (24.0, 7.1, 7.0), (23.9, 7.2, None), (23.7, 6.8, 6.8)]
    assert rows(6)[0][0].split("+") == [
        "D/256/224,256,288",
        "D/384/352,384,416",
        "D/[256;512]/256,384,512",
        "C/256/224,256,288",
        "C/384/352,384,416",
        "E/256/224,256,288",
        "E/384/352,384,416",
    ]


def test_table_7_is_printed_right() -> None:
    assert [(r.label, r.method, r.top1_val, r.top5_val, r.top5_test) for r in TABLES[7]] == [
        ("VGG, 2 nets", "both", 23.7, 6.8, 6.8),
        ("VGG, 1 net", "both", 24.4, 7.1, 7.0),
        ("VGG, ILSVRC submission, 7 nets", "dense", 24.7, 7.5, 7.3),
        ("GoogLeNet, 1 net", None, None, 7.9, 7.9),
        ("GoogLeNet, 7 nets", None, None, 6.7, 6.7),
        ("MSRA, 11 nets", None, None, None, 8.1),
        ("MSRA, 1 net", None, 27.9, 9.1, 9.1),
        ("Clarifai, multiple nets", None, None, None, 11.7),
        ("Clarifai, 1 net", None, None, None, 12.5),
        ("Zeiler & Fergus, 6 nets", None, 36.0, 14.7, 14.8),
        ("Zeiler & Fergus, 1 net", None, 37.5, 16.0, 16.1),
        ("OverFeat, 7 nets", None, 34.0, 13.2, 13.6),
        ("OverFeat, 1 net", None, 35.7, 14.2, None),
        ("Krizhevsky et al., 5 nets", None, 38.1, 16.4, 16.4),
        ("Krizhevsky et al., 1 net", None, 40.7, 18.2, None),
    ]
    assert [str(member) for member in TABLES[7][1].members] == ["E/[256;512]/256,384,512"]


def test_table_2_is_printed_right_and_is_the_exact_count_rounded() -> None:
    assert TABLE_2 == {"A": 133, "A-LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144}
    assert {name: round(Architecture(name).parameters / 1e6) for name in TABLE_2} == TABLE_2


def test_only_rows_of_the_released_networks_count_as_reproducible() -> None:
    reproducible = {(row.table, row.label) for table in TABLES.values() for row in table if row.reproducible}
    assert reproducible == {
        (3, "D"),
        (3, "E"),
        (4, "D"),
        (4, "E"),
        (5, "D"),
        (5, "E"),
        (6, "D + E"),
        (7, "VGG, 2 nets"),
        (7, "VGG, 1 net"),
    }
    assert sum(row.reproducible for row in TABLES[3]) == 2


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (0.248, "equal"),
        (0.2485, "equal"),
        (0.24851, "plausible"),
        (0.2495, "plausible"),
        (0.2465, "plausible"),
        (0.24951, "different"),
    ],
)
def test_a_cell_is_equal_plausible_or_different(error: float, verdict: str) -> None:
    assert cell_verdict(24.8, error) == verdict


def test_a_measurement_stands_beside_the_printed_row_whatever_the_order_of_its_members() -> None:
    fused = Measurement((network("E"), network("D")), "both", 0.2371, 0.0702, 50_000)
    row = next(row for row in lay_out([fused])[6] if row.measured)
    assert row.printed is not None
    assert row.printed.top1_val == 23.7
    assert (row.top1_verdict, row.top5_verdict) == ("equal", "different")


def test_a_measurement_without_a_printed_counterpart_follows_below() -> None:
    small = Measurement((network("D", TrainingScale(36, 36), (36,)),), "dense", 0.1, 0.01, 1000)
    table = lay_out([small])[3]
    assert [row.printed is not None for row in table] == [True] * 12 + [False]
    assert table[-1] == LaidOutRow(None, small)
    assert table[-1].top1_verdict is None


def test_the_tables_of_a_measurement_follow_from_what_it_is() -> None:
    def of(
        method: str, scales: tuple[int, ...] = (256, 384, 512), members: int = 1, scale: TrainingScale = JITTERED
    ) -> tuple[int, ...]:
        return tables_of(Measurement((network(scale=scale, scales=scales),) * members, method, 0.2, 0.1, 10))  # type: ignore[arg-type]

    assert of("dense", (384,)) == (3,)
    assert of("dense") == (4, 5)
    assert of("dense", (224, 256, 288), scale=TrainingScale(256, 256)) == (4,)
    assert of("crops") == (5,)
    assert of("both") == (5, 7)
    assert of("dense", members=2) == (6,)
    assert of("both", members=2) == (6, 7)
    submission = Measurement(TABLES[6][0].members, "dense", 0.247, 0.075, 50_000)
    assert tables_of(submission) == (6, 7)
    assert of("crops", (384,)) == ()
    assert of("dense", (256,)) == ()


def test_nothing_stands_beside_a_printed_number_that_was_measured_on_other_images() -> None:
    fused = Measurement((network("D"), network("E")), "both", 0.237, 0.068, 1000, departures=("10 classes",))
    table = lay_out([fused])[6]
    assert [row.measured for row in table] == [None] * 4 + [fused]


def test_every_printed_row_is_laid_out_even_without_measurements() -> None:
    laid_out = lay_out([])
    assert {number: len(table) for number, table in laid_out.items()} == {3: 12, 4: 10, 5: 6, 6: 4, 7: 15}
    assert all(
        isinstance(row.printed, PrintedRow) and row.measured is None for table in laid_out.values() for row in table
    )


def test_two_measurements_of_one_printed_row_both_stand_beside_it() -> None:
    ceil, floor = (Measurement((network(),), "dense", error, 0.075, 50_000, name="d") for error in (0.248, 0.25))
    beside = [row for row in lay_out([ceil, floor])[4] if row.measured]
    assert [(row.measured, row.printed and row.printed.top1_val) for row in beside] == [(ceil, 24.8), (floor, 24.8)]


def test_another_network_departs_from_the_papers_by_classes_width_or_crop() -> None:
    assert network_departures(Architecture("D")) == ()
    small = Architecture("D", width=0.125, classes=10, crop=32)
    assert [words.split(" in place")[0] for words in network_departures(small)] == [
        "10 classes",
        "width 0.125",
        "crop 32 px",
    ]


def test_what_the_paper_says_in_words_binds_and_what_it_leaves_open_does_not() -> None:
    free = Protocol(
        resize="bicubic",
        long_side="ceil",
        pool_rounding="ceil",
        antialias=False,
        score_pooling="probs",
        dtype="float16",
    )
    assert protocol_departures(free, "both") == ()
    assert protocol_departures(Protocol(crop_grid="ten"), "dense") == ()
    (grid,) = protocol_departures(Protocol(crop_grid="ten"), "crops")
    (flip,) = protocol_departures(Protocol(hflip=False), "dense")
    assert "5 x 5" in grid
    assert "flip" in flip
