from dataclasses import fields, replace

import pytest

from app.dashboard.protocols import FIELDS, describe, flatten, trace
from app.db.models import PredictionSet
from app.db.queries import evaluations
from ensembles.protocols import PRESETS, Protocol
from ensembles.specs import ViewSpec
from tests.history import History
from tests.unit.app.dashboard.conftest import Browser

#: Every option, with a value that no preset has, and how the page says it.
UNUSUAL = {
    "scales": ([34, 50], "34, 50"),
    "scale_step": (7, "7"),
    "modes": (["crops"], "crops"),
    "hflip": (False, "no"),
    "crop_grid": (4, "4"),
    "score_pooling": ("probs_max", "probs_max"),
    "resize": ("nearest", "nearest"),
    "antialias": (False, "no"),
    "long_side": ("round", "round"),
    "pool_rounding": ("ceil", "ceil"),
    "decoder": ("torchcodec", "torchcodec"),
    "exif": ("transpose", "transpose"),
    "dtype": ("bfloat16", "bfloat16"),
    "exclude": (["digits/00001.png", "digits/00000.png"], "2, first digits/00001.png"),
}


def test_every_option_has_a_name_on_the_page() -> None:
    assert set(FIELDS) == set(UNUSUAL) == {field.name for field in fields(Protocol)} - {"name"}


@pytest.mark.parametrize("option", UNUSUAL)
def test_an_option_is_stored_with_the_result_and_shown_on_its_page(
    browser: Browser, digits: History, option: str
) -> None:
    value, shown = UNUSUAL[option]
    protocol = {"scales": [32], option: value}
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol=protocol)
    digits.predict()
    digits.finish(key, [100] * (3 if option == "scales" else 1))
    html = " ".join(browser.open(f"/evaluations/{key}").split())
    assert f"<dt>{FIELDS[option]}</dt><dd>{shown}</dd>" in html
    with digits.runtime.db.read() as session:
        document = evaluations.get(session, key)
        sets = [session.get_one(PredictionSet, view.set_id) for view in document.views]
    assert document.protocol[option] == document.checkpoints[0].protocol[option] == value
    expected = replace(Protocol.parse(protocol), name=None).views(None, 32)
    assert [(row.view, row.view_digest) for row in sets] == [(view.to_dict(), view.digest) for view in expected]
    assert all(ViewSpec.from_dict(row.view).digest == row.view_digest for row in sets)


def test_what_all_members_share_is_told_once_and_the_rest_side_by_side() -> None:
    rows = describe([PRESETS["center-crop"].to_dict(), PRESETS["ten-crop"].to_dict()])
    assert rows.own == (("horizontal flip", ("no", "yes")), ("crops", ("center", "ten")))
    assert ("modes", "crops") in rows.shared
    assert len(rows.shared) + len(rows.own) == len(PRESETS["center-crop"].to_dict())


def test_a_single_member_has_nothing_of_its_own() -> None:
    assert describe([PRESETS["caffe-vgg"].to_dict()]).own == ()


def test_a_field_that_the_page_does_not_know_is_shown_under_its_own_name() -> None:
    assert describe([{"sharpen": True}]).shared == (("sharpen", "yes"),)


def test_nested_provenance_becomes_dotted_rows() -> None:
    value = {
        "versions": {"torch": "2"},
        "devices": ["cpu", "cuda:0"],
        "parts": [{"id": "a"}, {"id": "b"}],
        "one": [{"k": 1}],
        "commit": None,
    }
    assert flatten(value) == [
        ("versions.torch", "2"),
        ("devices", "cpu, cuda:0"),
        ("parts.1.id", "a"),
        ("parts.2.id", "b"),
        ("one.k", "1"),
        ("commit", "none"),
    ]


def test_members_are_traced_apart_with_a_row_for_each_view() -> None:
    traced = trace(
        {
            "dataset": {"name": "digits"},
            "members": [
                {
                    "checkpoint": "d",
                    "class_mapping": None,
                    "views": [{"scale": 32, "batch": [64]}, {"scale": 40, "batch": [], "later": True}],
                }
            ],
        }
    )
    assert traced.facts == (("dataset.name", "digits"),)
    (member,) = traced.members
    assert (member.name, member.facts) == ("d", (("class_mapping", "none"),))
    assert member.columns == ("scale", "batch", "later")
    assert member.rows == (("32", "64", "none"), ("40", "", "yes"))


def test_no_provenance_makes_no_rows() -> None:
    assert trace({}).facts == ()
    assert trace({}).members == ()
