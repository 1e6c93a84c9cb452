"""Requests: everything wrong with one is said at once, and the same one twice is the same."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import IdempotencyConflictError, InvalidRequestError
from app.representations.requests import CheckpointRequest, EvaluationRequest
from app.services import checkpoints, evaluations
from ensembles.canonical import digest
from ensembles.configurations import Architecture
from ensembles.torchvision_networks import TorchvisionArchitecture
from tests.catalogue import Catalogue

DENSE = {"scales": [32]}


def problems(catalogue: Catalogue, *names: Any, **fields: Any) -> dict[str, str]:
    """By field, the code of what is wrong."""
    with pytest.raises(InvalidRequestError) as caught:
        catalogue.submit(*names, **fields)
    return {problem.field: problem.code for problem in caught.value.problems}


def test_every_problem_is_listed_at_once(catalogue: Catalogue) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a")
    catalogue.checkpoint("wide", network=Architecture("D", False, 0.125, 11, 32))
    catalogue.checkpoint("unscaled", training_scale=None)
    pending = catalogue.settings.checkpoint_roots[0] / "pending.safetensors"
    pending.write_bytes(b"weights")
    request = CheckpointRequest(path=str(pending), name="pending")
    checkpoints.request_registration(catalogue.db, catalogue.settings, request)
    found = problems(
        catalogue,
        "a",
        {"checkpoint": "a", "weight": 2.0},
        "wide",
        "unscaled",
        "pending",
        "missing",
        {"checkpoint": "wide", "protocol": {"scales": [16], "modes": ["crops"]}},
        protocol={"scales": "multi", "scale_step": 8},
        fusion={"rule": "median", "weights": [1.0]},
    )
    assert found == {
        "checkpoints.1.checkpoint": "duplicate",
        "checkpoints.1.weight": "invalid_value",
        "checkpoints.2": "class_count_mismatch",
        "protocol.scales": "training_scale_missing",
        "checkpoints.4": "not_ready",
        "checkpoints.5": "unknown_name",
        "checkpoints.6.checkpoint": "duplicate",
        "fusion.weights": "invalid_value",
        "fusion.rule": "invalid_value",
    }


def test_an_unknown_name_suggests_near_ones(catalogue: Catalogue) -> None:
    catalogue.dataset("digits")
    catalogue.checkpoint("digits-d-jitter")
    with pytest.raises(InvalidRequestError, match="did you mean digits-d-jitter") as caught:
        catalogue.submit("digits-d-jiter", dataset="digit")
    assert [problem.field for problem in caught.value.problems] == ["dataset", "checkpoints.0"]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ({"scales": [16], "modes": ["crops"]}, {"protocol.scales": "scale_too_small"}),
        ({"scales": [32, 16]}, {"protocol.scales": "scale_too_small"}),
        ({"scales": []}, {"protocol.scales": "invalid_value"}),
        (
            {"scales": [32], "mode": "dense", "hflip": 1},
            {"protocol.mode": "unknown_field", "protocol.hflip": "invalid_value"},
        ),
        ("vgg-multi-scale", {"protocol": "unknown_name"}),
        ({"preset": "vgg"}, {"protocol": "unknown_name"}),
    ],
)
def test_protocol_problems_name_the_field(catalogue: Catalogue, protocol: Any, expected: dict[str, str]) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a")
    assert problems(catalogue, "a", protocol=protocol) == expected
    own = {f"checkpoints.0.{field}": code for field, code in expected.items()}
    assert problems(catalogue, {"checkpoint": "a", "protocol": protocol}) == own


def test_a_presets_problem_is_put_on_the_protocol(catalogue: Catalogue) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a", training_scale=(16, 64))
    assert problems(catalogue, "a", protocol="vgg-multi-scale-dense") == {"protocol": "scale_too_small"}


def test_a_scale_that_the_step_made_too_small_says_that_a_smaller_step_helps(catalogue: Catalogue) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a", training_scale=(32, 32))
    with pytest.raises(InvalidRequestError, match="32 px, as a smaller scale_step than 32 may give; got 0"):
        catalogue.submit("a", protocol="vgg-multi-scale-dense")


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("inf")]])
def test_weights_must_be_one_finite_number_a_member(catalogue: Catalogue, weights: list[float]) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    assert problems(catalogue, "a", "b", protocol=DENSE, fusion={"weights": weights}) == {
        "fusion.weights": "invalid_value"
    }


def test_weights_may_stand_at_the_members(catalogue: Catalogue) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    members = [{"checkpoint": "a", "weight": 3.0}, "b"]
    evaluation_id = catalogue.submit(*members, protocol=DENSE)
    assert [member.weight for member in catalogue.get(evaluation_id).checkpoints] == [3.0, 1.0]
    assert problems(catalogue, *members, protocol=DENSE, fusion={"weights": [1.0, 2.0]}) == {
        "checkpoints.0.weight": "invalid_value"
    }
    assert problems(catalogue, {"checkpoint": "a", "weight": 0.0}, protocol=DENSE) == {"checkpoints": "invalid_value"}


def test_members_may_have_protocols_of_their_own(catalogue: Catalogue) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    own = {"checkpoint": "b", "protocol": {"scales": [40, 36], "modes": ["crops"], "crop_grid": "center"}}
    document = catalogue.get(catalogue.submit("a", own, protocol="vgg-multi-scale-dense"))
    assert document.protocol_name == "vgg-multi-scale-dense"
    assert [(member.checkpoint, member.protocol_name, member.scales) for member in document.checkpoints] == [
        ("a", "vgg-multi-scale-dense", [32, 48, 64]),
        ("b", None, [36, 40]),
    ]
    assert [(view.checkpoint, view.mode, view.scale) for view in document.views] == [
        ("a", "dense", 32),
        ("a", "dense", 48),
        ("a", "dense", 64),
        ("b", "crops", 36),
        ("b", "crops", 40),
    ]


def test_a_key_stands_for_one_request(catalogue: Catalogue) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a")
    request = EvaluationRequest(dataset="digits", checkpoints=["a"], protocol=DENSE)
    first = evaluations.submit(catalogue.db, request, idempotency_key="k")
    again = evaluations.submit(catalogue.db, request, idempotency_key="k")
    assert (first.created, again.created) == (True, False)
    assert again.id == first.id
    other = EvaluationRequest(dataset="digits", checkpoints=["a"], protocol=DENSE, limit=5)
    with pytest.raises(IdempotencyConflictError, match="'k' was used before with another request"):
        evaluations.submit(catalogue.db, other, idempotency_key="k")
    assert evaluations.submit(catalogue.db, request).id != first.id
    # The key still answers when the request would not be valid any more.
    evaluations.cancel(catalogue.db, first.id)
    assert evaluations.submit(catalogue.db, request, idempotency_key="k").id == first.id


def test_blocks_round_the_wanted_images_up(catalogue: Catalogue) -> None:
    """A large network has small blocks, crops have blocks of one image, and a set's end is a whole one."""
    catalogue.dataset(images=1000, size=(500, 375))
    catalogue.checkpoint("small")
    catalogue.checkpoint("large", network=Architecture("D", False, 1.0, 10, 224), training_scale=(256, 256))
    views = {"small": {"scales": [32], "modes": ["dense", "crops"]}, "large": {"scales": [256]}}
    members = [{"checkpoint": name, "protocol": protocol} for name, protocol in views.items()]
    evaluation_id = catalogue.submit(*members, limit=70)
    slices = catalogue.predict_all("w")
    done = sorted((s.start, s.stop, p.checkpoint_name, p.view["mode"]) for s in slices for p in s.parts)
    ends: dict[tuple[str, str], int] = {}
    for start, stop, name, mode in done:
        assert start == ends.get((name, mode), 0)
        ends[name, mode] = stop
    assert ends == {("small", "dense"): 128, ("small", "crops"): 70, ("large", "dense"): 70}
    assert catalogue.status(evaluation_id) == "fusing"
    assert {view.total for view in catalogue.get(evaluation_id).views} == {70}


def test_dense_views_of_a_network_that_has_no_dense_form_are_refused_and_its_crops_are_not(
    catalogue: Catalogue,
) -> None:
    catalogue.dataset(size=(500, 375))
    swin = TorchvisionArchitecture.published("swin_t", 10)
    catalogue.checkpoint("swin", network=swin, training_scale=None)
    catalogue.checkpoint("resnet", network=TorchvisionArchitecture.published("resnet18", 10), training_scale=(256, 256))
    dense = {"scales": [256], "modes": ["dense", "crops"]}
    with pytest.raises(InvalidRequestError) as caught:
        catalogue.submit("swin", {"checkpoint": "resnet", "protocol": "caffe-vgg"}, protocol=dense)
    first, second = caught.value.problems
    assert (first.field, first.code, second.field) == ("protocol.modes", "dense_unsupported", "checkpoints.1.protocol")
    assert "checkpoint 'swin' (swin_t)" in first.rule
    assert str(swin.dense_refusal) in first.rule
    assert "pool_rounding" in second.rule
    catalogue.submit("swin", protocol={"scales": [256], "modes": ["crops"]})
    catalogue.submit("resnet", protocol=dense)


def test_class_names_must_be_the_data_sets_in_any_order(catalogue: Catalogue) -> None:
    catalogue.dataset()
    names = [f"c{i}" for i in range(10)]
    catalogue.checkpoint("turned", class_names=names[::-1])
    catalogue.checkpoint("other", class_names=[*names[:-1], "dog"])
    catalogue.submit("turned", protocol=DENSE)
    assert problems(catalogue, "other", protocol=DENSE) == {"checkpoints.0": "class_names_mismatch"}


@pytest.mark.parametrize("rule", ["geometric", "vote"])
def test_members_may_be_fused_by_another_rule_at_a_temperature(catalogue: Catalogue, rule: str) -> None:
    catalogue.dataset()
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    fusion = {"rule": rule, "weights": None, "temperature": 2.5}
    evaluation_id = catalogue.submit("a", "b", protocol=DENSE, fusion=fusion)
    assert catalogue.get(evaluation_id).fusion == fusion
    assert problems(catalogue, "a", "b", protocol=DENSE, fusion={"temperature": 0.0}) == {
        "fusion.temperature": "invalid_value"
    }


def test_a_request_without_a_temperature_is_stored_as_before_there_was_one() -> None:
    request = EvaluationRequest(dataset="d", checkpoints=["a"])
    assert request.model_dump(mode="json")["fusion"] == {"rule": "mean", "weights": None}
    assert digest(request.model_dump(mode="json")) == "4c42a3a78cddde56d2c9ece4d94b112857d80d20e60c252a41ffeab9cb5e1a16"
