"""Networks of torchvision from their file to scores: registered, evaluated with crops and densely, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from sqlalchemy import select
from torch import nn
from torchvision import models

from app.cli.main import main
from app.config import Settings
from app.db.models import Checkpoint, PredictionPart, PredictionSet
from app.db.queries import checkpoints as checkpoint_queries
from app.db.queries import evaluations as queries
from app.errors import InvalidRequestError
from app.factory import create_app
from app.representations.catalogue import CheckpointDocument
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.runtime import Runtime, build_runtime
from app.services import checkpoints, evaluations
from ensembles.datasets import scan_image_folder
from ensembles.errors import UnknownNameError, WeightsUnavailableError
from ensembles.preprocessing import decode
from ensembles.specs import PREPROCESSING_PRESETS
from ensembles.torchvision_table import torchvision_networks
from tests.builders import encoded, photo, write_folder
from tests.torchvision_nets import lively
from workers import local
from workers.published_weights import find_published_weights, published_weights

CLASSES = ("class-0", "class-1", "class-2")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A service with four pictures in it."""
    home = tmp_path_factory.mktemp("home")
    runtime = build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)}), migrate=True)
    sizes = [(250, 240), (240, 250), (235, 300), (250, 240)]
    pictures = {f"{CLASSES[i % 3]}/{i}.png": encoded(photo(*size, i), "png") for i, size in enumerate(sizes)}
    folder = write_folder(home / "pictures", pictures)
    assert local.register_dataset_now(runtime, DatasetRequest(path=str(folder), name="pictures")).state == "ready"
    yield runtime
    runtime.db.dispose()


@pytest.fixture(scope="module")
def resnet(runtime: Runtime) -> nn.Module:
    """A resnet18 of three classes, registered under its own name."""
    body = lively("resnet18", classes=3)
    document = register(runtime, "resnet18", body)
    assert (document.state, document.architecture, document.classes, document.crop) == ("ready", "resnet18", 3, 224)
    assert (document.configuration, document.width, document.batch_norm) == (None, None, None)
    assert (document.recipe, document.dense_refusal) == ({"resize": 256, "interpolation": "bilinear"}, None)
    return body


@pytest.fixture(scope="module")
def swin(runtime: Runtime) -> nn.Module:
    """A swin_t of three classes, registered under its own name."""
    body = lively("swin_t", classes=3)
    document = register(runtime, "swin_t", body)
    assert (document.state, document.architecture) == ("ready", "swin_t"), document.error
    assert "windows" in str(document.dense_refusal)
    return body


def register(runtime: Runtime, name: str, body: nn.Module, **fields: Any) -> CheckpointDocument:
    path = runtime.settings.home / f"{name}.pth"
    torch.save(body.state_dict(), path)
    return local.register_checkpoint_now(runtime, CheckpointRequest(path=str(path), name=name, **fields))


def evaluate(runtime: Runtime, *names: str, **protocol: Any) -> None:
    request = EvaluationRequest(dataset="pictures", checkpoints=list(names), protocol=protocol)
    key = evaluations.submit(runtime.db, request).id
    local.run_until_done(runtime, key)
    with runtime.db.read() as session:
        document = queries.get(session, key)
    assert document.status == "succeeded", document.error


def stored(runtime: Runtime, checkpoint: str, mode: str) -> NDArray[np.float32]:
    """(N, K) posteriors as a worker stored them, in canonical order."""
    parts = (
        select(PredictionPart.artifact, PredictionSet.view)
        .join(PredictionSet, PredictionSet.id == PredictionPart.set_id)
        .join(Checkpoint, Checkpoint.id == PredictionSet.checkpoint_id)
        .where(Checkpoint.name == checkpoint)
        .order_by(PredictionPart.start)
    )
    with runtime.db.read() as session:
        keys = [artifact for artifact, view in session.execute(parts) if view["mode"] == mode]
    return np.concatenate([np.load(runtime.artifacts.path(key)) for key in keys])


def expected(runtime: Runtime, body: nn.Module, side: int, crop: int | None, resample: int = 2) -> NDArray[np.float32]:
    """By torchvision's module alone: the whole resized image, or its centre crop."""
    root = runtime.settings.home / "pictures"
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    rows = []
    for image in scan_image_folder(root).images:
        picture = decode(root / image.file)
        scale = side / min(picture.size)
        width, height = (int(scale * length + 1e-9) for length in picture.size)
        pixels = torch.from_numpy(np.asarray(picture.resize((width, height), resample)).copy()).permute(2, 0, 1) / 255
        if crop is not None:
            top, left = round((height - crop) / 2), round((width - crop) / 2)
            pixels = pixels[:, top : top + crop, left : left + crop]
        with torch.inference_mode():
            rows.append(body(((pixels - mean) / std).unsqueeze(0)).softmax(1)[0])
    return torch.stack(rows).numpy()


def test_a_resnet_is_evaluated_densely_and_with_crops_as_torchvision_computes_it(
    runtime: Runtime, resnet: nn.Module
) -> None:
    evaluate(runtime, "resnet18", scales=[240], modes=["dense", "crops"], crop_grid="center", hflip=False)
    dense, crops = expected(runtime, resnet, 240, None), expected(runtime, resnet, 240, 224)
    assert not np.allclose(dense, crops, atol=1e-2)
    np.testing.assert_allclose(stored(runtime, "resnet18", "dense"), dense, atol=1e-4)
    np.testing.assert_allclose(stored(runtime, "resnet18", "crops"), crops, atol=1e-4)


def test_a_swin_is_refused_densely_with_the_reason_and_evaluated_with_crops_of_its_own_recipe(
    runtime: Runtime, swin: nn.Module
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        evaluate(runtime, "swin_t", scales=[240])
    (problem,) = caught.value.problems
    assert (problem.field, problem.code) == ("protocol.modes", "dense_unsupported")
    assert "'swin_t'" in problem.rule
    assert "windows" in problem.rule

    evaluate(runtime, "swin_t", preset="torchvision")
    np.testing.assert_allclose(stored(runtime, "swin_t", "crops"), expected(runtime, swin, 232, 224, 3), atol=1e-4)


def test_their_pages_say_what_is_known_of_them(runtime: Runtime, resnet: nn.Module, swin: nn.Module) -> None:
    client = create_app(runtime).test_client()
    page = client.get("/checkpoints/swin_t").text
    assert "Only crops: Swin" in page
    assert "torchvision&#39;s network" in page or "torchvision's network" in page
    assert "smaller side 232 px, bicubic, centre crop 224 px" in page
    page = client.get("/checkpoints/resnet18").text
    assert "Only crops" not in page
    assert "None" not in page
    assert "resnet18" in client.get("/checkpoints").text
    assert client.get("/api/v1/checkpoints/resnet18/layers").json["items"] == []


def test_what_the_request_states_of_a_file_is_kept_or_refused(runtime: Runtime, resnet: nn.Module) -> None:
    small = register(runtime, "small", resnet, crop=64, classes=list(CLASSES), architecture="resnet18")
    assert (small.crop, small.recipe, small.class_names) == (
        64,
        {"resize": 73, "interpolation": "bilinear"},
        [*CLASSES],
    )
    refused = {
        "other": ({"architecture": "resnet34"}, "architecture_mismatch"),
        "few": ({"classes": ["a", "b"]}, "invalid_spec"),
        "huge": ({"weights": "resnet34/IMAGENET1K_V1"}, "architecture_mismatch"),
        "typo": ({"weights": "resnet18/IMAGENET1K_V9"}, "unknown_name"),
    }
    for name, (fields, code) in refused.items():
        document = register(runtime, name, resnet, **fields)
        assert document.error is not None
        assert (document.state, document.error.code) == ("failed", code), document.error
    fields = {"architecture": "resnet19", "classes": ["a", "a"]}
    with pytest.raises(InvalidRequestError) as caught:
        register(runtime, "wrong", resnet, **fields)
    assert {problem.field: problem.code for problem in caught.value.problems} == {
        "architecture": "unknown_name",
        "classes": "invalid_value",
    }
    assert "resnet18" in str(caught.value)


def test_the_recipe_of_published_weights_is_torchvision_s_own() -> None:
    for network in torchvision_networks():
        for entry in models.get_model_weights(network):
            found = published_weights(f"{network}/{entry.name}")
            assert len(found.classes) == 1000
            if network not in ("googlenet", "inception_v3"):
                assert found.preprocessing.mean == tuple(entry.transforms().mean)
    second = published_weights("resnet50/IMAGENET1K_V2")
    assert (second.crop, second.resize, second.interpolation) == (224, 232, "bilinear")
    assert published_weights("inception_v3/IMAGENET1K_V1").preprocessing == PREPROCESSING_PRESETS["inception"]
    with pytest.raises(WeightsUnavailableError, match="classifier is NaN"):
        published_weights("vgg16/IMAGENET1K_FEATURES")
    with pytest.raises(UnknownNameError, match="did you mean resnet50"):
        published_weights("resnet51/IMAGENET1K_V1")


def command(runtime: Runtime, *arguments: str, **environment: str) -> Result:
    settings = {"SOFTVOTE_HOME": str(runtime.settings.home), "SOFTVOTE_URL": "", **environment}
    return CliRunner().invoke(main, ["checkpoint", "add", *arguments, "--json"], env=settings)


def test_published_weights_are_registered_by_uri_from_a_file_or_the_cache(runtime: Runtime, tmp_path: Path) -> None:
    body = lively("mnasnet0_75", classes=1000, std=1.0)
    file = tmp_path / "anything.pth"
    torch.save(body.state_dict(), file)
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "mnasnet0_75-7090bc5f.pth").write_bytes(file.read_bytes())
    uri = "torchvision:mnasnet0_75/IMAGENET1K_V1"
    for name, options, environment in (
        ("given", ["--weights", str(file)], {}),
        ("cached", [], {"TORCH_HOME": str(tmp_path)}),
    ):
        result = command(runtime, uri, "--name", name, *options, **environment)
        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout)
        assert (document["state"], document["architecture"]) == ("ready", "mnasnet0_75"), document["error"]
        assert document["recipe"] == {"resize": 232, "interpolation": "bilinear"}
        assert document["class_names"][:2] == ["tench", "goldfish"]
        assert len(document["class_names"]) == 1000


def test_published_weights_that_cannot_be_had_say_where_they_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for proxy in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nothing answers there: as on a machine without a network
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(WeightsUnavailableError, match=r"resnet18-f37072fd\.pth.*--weights"):
        find_published_weights("resnet18/IMAGENET1K_V1")


def test_weights_without_a_uri_and_a_missing_file_are_refused(runtime: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(b"x")
    assert "goes with torchvision:" in command(runtime, str(file), "--weights", str(file)).output
    assert "does not exist" in command(runtime, str(tmp_path / "none.pth")).output
    refused = command(runtime, "torchvision:vgg16/IMAGENET1K_FEATURES")
    assert refused.exit_code == 2
    assert "weights_unavailable" in refused.output + refused.stderr


def test_class_names_come_from_a_file_of_lines(runtime: Runtime, resnet: nn.Module, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    result = command(
        runtime,
        str(runtime.settings.home / "resnet18.pth"),
        "--name",
        "named",
        "--classes",
        str(names),
        "--arch",
        "resnet18",
    )
    assert json.loads(result.stdout)["class_names"] == [*CLASSES]
    names.write_bytes(b"\xff\xfe")
    result = command(runtime, str(runtime.settings.home / "resnet18.pth"), "--name", "bad", "--classes", str(names))
    assert "UTF-8" in result.output + result.stderr


def test_a_file_that_vanished_fails_at_once_with_its_path(runtime: Runtime) -> None:
    path = runtime.settings.home / "gone.pth"
    path.write_bytes(b"weights")
    request = CheckpointRequest(path=str(path), name="gone")
    checkpoints.request_registration(runtime.db, runtime.settings, request, trusted=True)
    path.unlink()
    # The worker of the next registration takes this one first.
    register(runtime, "after", lively("shufflenet_v2_x0_5", classes=3))
    with runtime.db.read() as session:
        document = checkpoint_queries.get(session, "gone")
    assert document.error is not None
    assert (document.state, document.error.code) == ("failed", "checkpoint_missing")
    assert str(path) in document.error.message
