from app.dashboard.protocols import describe, flatten, trace
from ensembles.protocols import PRESETS


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
