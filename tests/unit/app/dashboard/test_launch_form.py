from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from app.dashboard.commands import cli_command, curl_command
from app.dashboard.launch import CHOICES, LaunchForm
from app.representations.requests import EvaluationRequest
from ensembles.protocols import PRESETS, Protocol


def form(*pairs: tuple[str, str], **fields: str) -> LaunchForm:
    return LaunchForm(MultiDict([*fields.items(), *pairs]))


def filled(*pairs: tuple[str, str], **fields: str) -> LaunchForm:
    return form(("dataset", "digits"), ("checkpoint", "d"), ("checkpoint", "e"), *pairs, **fields)


def request_of(launch: LaunchForm) -> EvaluationRequest:
    request = launch.request()
    assert request is not None, launch.problems
    return request


def test_the_plainest_form_asks_for_the_default_protocol_over_all_images() -> None:
    request = request_of(filled())
    assert request == EvaluationRequest(dataset="digits", checkpoints=["d", "e"])


def test_all_that_is_missing_is_named_at_once_in_the_order_of_the_page() -> None:
    empty = form(limit="ten", priority="-1")
    assert empty.request() is None
    assert [p.field for p in empty.problems] == ["dataset", "checkpoints", "limit", "priority"]


@pytest.mark.parametrize("text", ["ten", "-1", "1.5", "٣", "9" * 5000, "0x10"])
def test_a_limit_that_is_no_whole_number_is_kept_and_refused(text: str) -> None:
    launch = filled(limit=text)
    assert launch.request() is None
    assert [p.field for p in launch.problems] == ["limit"]
    assert launch["limit"] == text
    assert len(launch.problems[0].text) < 200


def test_a_number_out_of_range_stands_beside_its_field() -> None:
    launch = filled(limit="0", priority="12")
    assert launch.request() is None
    assert [p.field for p in launch.problems] == ["limit", "priority"]


def test_weights_are_the_plain_mean_unless_one_is_typed_and_then_one_where_empty() -> None:
    assert request_of(filled()).fusion.weights is None
    assert request_of(filled(("weight.e", "2.5"))).fusion.weights == [1.0, 2.5]
    assert request_of(filled(("weight.not-ticked", "2.5"))).fusion.weights is None


def test_a_weight_that_is_no_number_stands_beside_its_checkpoint() -> None:
    launch = filled(("weight.e", "much"))
    assert launch.request() is None
    assert [(p.field, p.label) for p in launch.problems] == [("checkpoints.1", "e")]


def test_custom_fields_count_only_when_custom_is_chosen() -> None:
    fields = {"protocol.scales": "list", "protocol.scale_list": "32, 48", "protocol.hflip": "false"}
    assert request_of(filled(*fields.items())).protocol == "vgg-multi-scale-dense"
    assert request_of(filled(*fields.items(), protocol="custom")).protocol == {"scales": [32, 48], "hflip": False}


def test_a_custom_protocol_holds_only_what_differs_from_the_defaults() -> None:
    assert request_of(filled(protocol="custom")).protocol == {}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("modes", "dense crops", ["dense", "crops"]),
        ("crop_grid", "3", 3),
        ("crop_grid", "ten", "ten"),
        ("antialias", "false", False),
        ("long_side", "ceil", "ceil"),
        ("dtype", "bfloat16", "bfloat16"),
    ],
)
def test_the_text_of_a_select_becomes_its_json_value(name: str, text: str, value: object) -> None:
    launch = filled((f"protocol.{name}", text), protocol="custom")
    assert request_of(launch).protocol == {name: value}


def test_everything_wrong_with_a_custom_protocol_is_named_beside_its_fields() -> None:
    launch = filled(
        ("protocol.scales", "list"),
        ("protocol.scale_list", "32, big"),
        ("protocol.scale_step", "0"),
        ("protocol.resize", "lanczos"),
        protocol="custom",
    )
    assert launch.request() is None
    assert {p.field for p in launch.problems} == {"protocol.scales", "protocol.scale_step", "protocol.resize"}


def test_every_protocol_field_but_the_excluded_images_can_be_set_on_the_page() -> None:
    on_page = {choice.name for choice in CHOICES} | {"scales", "scale_step"}
    assert on_page == set(Protocol().to_dict()) - {"exclude"}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_the_first_value_of_a_choice_is_the_default_of_the_protocol(choice: Any) -> None:
    launch = filled((f"protocol.{choice.name}", choice.values[0][0]), protocol="custom")
    assert request_of(launch).protocol == {}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_every_offered_value_is_a_valid_one(choice: Any) -> None:
    for value, _ in choice.values:
        request = request_of(filled((f"protocol.{choice.name}", value), protocol="custom"))
        Protocol.parse(request.protocol)


def test_a_checkpoint_that_looks_like_another_field_is_only_a_name() -> None:
    launch = form(("dataset", "digits"), ("checkpoint", "checkpoints.0"), ("checkpoint", "limit"))
    assert request_of(launch).checkpoints == ["checkpoints.0", "limit"]


def test_the_same_form_sent_twice_has_one_key_and_an_edited_one_another() -> None:
    first, again, edited = filled(submission="abc"), filled(submission="abc"), filled(submission="abc", limit="5")
    assert first.submission_key(request_of(first)) == again.submission_key(request_of(again))
    assert first.submission_key(request_of(first)) != edited.submission_key(request_of(edited))


@pytest.mark.parametrize("token", ["", "x" * 65, "naïve", "a b", "a\x00"])
def test_a_submission_token_that_the_page_did_not_make_is_no_key(token: str) -> None:
    launch = filled(submission=token)
    assert launch.submission_key(request_of(launch)) is None


def test_the_commands_repeat_the_request() -> None:
    request = EvaluationRequest(
        dataset="my digits",
        checkpoints=["d", "it's e"],
        protocol="center-crop",
        fusion={"weights": [1, 2.5]},  # type: ignore[arg-type]
        limit=10,
        force=True,
        priority=7,
        unreadable="skip",
    )
    assert cli_command(request).replace(" \\\n  ", " ") == (
        "softvote evaluate --dataset 'my digits' --checkpoint d --checkpoint 'it'\"'\"'s e' --protocol center-crop "
        "--weight 1 --weight 2.5 --limit 10 --force --priority 7 --unreadable skip --wait"
    )
    assert curl_command(request, "http://localhost:8080").startswith(
        "curl -X POST http://localhost:8080/api/v1/evaluations"
    )


def test_the_body_of_the_curl_command_is_the_request(tmp_path: Any) -> None:
    import json
    import shlex

    request = EvaluationRequest(dataset="it's", checkpoints=["d"], protocol={"scales": [32]})
    words = shlex.split(curl_command(request, "http://localhost:8080").replace("\\\n", " "))
    assert EvaluationRequest.model_validate(json.loads(words[words.index("-d") + 1])) == request


def test_a_custom_protocol_goes_to_the_command_line_through_a_file() -> None:
    command = cli_command(EvaluationRequest(dataset="d", checkpoints=["c"], protocol={"scales": [32]}))
    assert command.startswith("echo '{\"scales\": [32]}' > protocol.json\n")
    assert "--protocol protocol.json" in command


def test_every_preset_is_offered() -> None:
    for name in PRESETS:
        assert request_of(filled(protocol=name)).protocol == name
