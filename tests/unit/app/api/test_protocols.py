from flask.testing import FlaskClient

from ensembles.protocols import PRESETS
from ensembles.specs import ViewSpec


def test_every_preset_is_listed_with_its_digest(client: FlaskClient) -> None:
    items = client.get("/api/v1/protocols").json["items"]
    assert {item["name"]: item["digest"] for item in items} == {name: preset.digest for name, preset in PRESETS.items()}
    assert all(item["views"] is None and item["error"] is None for item in items)


def test_views_are_expanded_for_a_training_scale(client: FlaskClient) -> None:
    document = client.get("/api/v1/protocols/vgg-multi-scale-both?training_scale=256-512").json
    assert [(view["mode"], view["scale"]) for view in document["views"]] == [
        (mode, scale) for mode in ("dense", "crops") for scale in (256, 384, 512)
    ]
    for view in document["views"]:
        digest = view.pop("digest")
        assert ViewSpec.from_dict(view).digest == digest


def test_the_scale_step_moves_the_three_scales(client: FlaskClient) -> None:
    query = "training_scale=40&crop=32&scale_step=8"
    document = client.get(f"/api/v1/protocols/vgg-multi-scale-dense?{query}").json
    assert [view["scale"] for view in document["views"]] == [32, 40, 48]
    assert document["protocol"]["scale_step"] == 8
    assert document["digest"] != PRESETS["vgg-multi-scale-dense"].digest


def test_a_preset_that_does_not_fit_says_why_and_the_others_are_expanded(client: FlaskClient) -> None:
    items = client.get("/api/v1/protocols?training_scale=320&crop=288").json["items"]
    misfits = {item["name"]: item["error"]["code"] for item in items if item["error"]}
    assert misfits == {"torchvision": "scale_too_small"}
    assert all(item["views"] for item in items if item["name"] != "torchvision")


def test_an_unknown_preset_is_answered_with_near_names(client: FlaskClient) -> None:
    response = client.get("/api/v1/protocols/ten-corp")
    assert response.status_code == 404
    assert "did you mean ten-crop" in response.json["detail"]


def test_a_training_scale_that_is_none_is_refused(client: FlaskClient) -> None:
    response = client.get("/api/v1/protocols?training_scale=512-256")
    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/training_scale"


def test_a_crop_that_is_no_number_is_refused(client: FlaskClient) -> None:
    response = client.get("/api/v1/protocols?crop=big")
    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/crop"
