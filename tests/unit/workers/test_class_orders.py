"""Networks that number the classes differently, evaluated and fused by a worker in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sqlalchemy import select

from app.cli.main import main
from app.config import Settings
from app.db.models import Checkpoint, PredictionPart, PredictionSet
from app.db.queries import evaluations as queries
from app.errors import InvalidRequestError
from app.factory import create_app
from app.representations.evaluations import EvaluationDocument, ScoreDocument
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.runtime import Runtime, build_runtime
from app.services import checkpoints, evaluations, workers
from app.services.checkpoints import CheckpointFacts
from app.services.leasing import leases
from app.services.workers import WorkerIdentity
from ensembles.checkpoints import file_sha256, save_checkpoint
from ensembles.imagenet import imagenet_classes, imagenet_wnids
from ensembles.specs import Preprocessing
from ensembles.vgg import VGG
from tests.builders import encoded, mixed_images, photo, write_folder
from tests.tiny_nets import tiny_network
from workers import local

CLASSES = ("class-0", "class-1", "class-2")


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(tmp_path / "home")}), migrate=True)
    yield runtime
    runtime.db.dispose()


def reordered(network: VGG, outputs: list[int]) -> VGG:
    """The same network with output i where `outputs[i]` was."""
    last = network.classifier[-1]
    with torch.no_grad():
        last.weight.copy_(last.weight[outputs].clone())
        last.bias.copy_(last.bias[outputs].clone())
    return network


def add_checkpoint(runtime: Runtime, name: str, network: VGG, classes: tuple[str, ...] | None) -> None:
    """Register a network as a worker would that found this in its file; no process of its own reads it."""
    path = runtime.settings.home / f"{name}.safetensors"
    save_checkpoint(path, network)  # equal weights are equal files, whatever is known of their classes
    checkpoints.request_registration(
        runtime.db, runtime.settings, CheckpointRequest(path=str(path), name=name), trusted=True
    )
    worker = workers.register(runtime.db, WorkerIdentity.of_this_process("test", "cpu", ("predict",), {}))
    lease = leases.lease_item(runtime.db, worker, ["predict"])
    assert lease is not None
    architecture = network.architecture
    facts = CheckpointFacts(
        path=str(path),
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
        architecture=architecture.to_dict(),
        architecture_name=architecture.name,
        classes=architecture.classes,
        parameters=architecture.parameters,
        macs=float(architecture.macs(architecture.crop, architecture.crop)),
        training_scale=None,
        preprocessing=Preprocessing().to_dict(),
        class_names=None if classes is None else list(classes),
    )
    checkpoints.complete_registration(runtime.db, lease, facts)
    workers.stop(runtime.db, worker)


def add_dataset(runtime: Runtime, folder: Path) -> None:
    document = local.register_dataset_now(runtime, DatasetRequest(path=str(folder), name="pictures"))
    assert document.state == "ready", document.error


def evaluate(runtime: Runtime, *names: str) -> tuple[EvaluationDocument, dict[tuple[str, str], ScoreDocument]]:
    request = EvaluationRequest(dataset="pictures", checkpoints=list(names), protocol={"scales": [34]})
    key = evaluations.submit(runtime.db, request).id
    local.run_until_done(runtime, key)
    with runtime.db.read() as session:
        document, scores = queries.get(session, key), queries.scores(session, key).items
    assert document.status == "succeeded", document.error
    return document, {(score.subject_name, score.metric): score for score in scores}


def posteriors(runtime: Runtime, checkpoint: str) -> np.ndarray:
    """(N, K) as stored."""
    parts = (
        select(PredictionPart.artifact)
        .join(PredictionSet, PredictionSet.id == PredictionPart.set_id)
        .join(Checkpoint, Checkpoint.id == PredictionSet.checkpoint_id)
        .where(Checkpoint.name == checkpoint)
        .order_by(PredictionPart.start)
    )
    with runtime.db.read() as session:
        keys = list(session.scalars(parts))
    return np.concatenate([np.load(runtime.artifacts.path(key)) for key in keys])


def agree(first: np.ndarray, second: np.ndarray) -> None:
    """Equal but for rounding: the order of classes is the order of sums in the last layer."""
    assert np.allclose(first, second, rtol=1e-4, atol=1e-7)
    assert not np.allclose(first, np.roll(second, 1, axis=1), rtol=1e-2)


def test_f38_networks_that_number_the_classes_differently_are_scored_and_fused_by_name(runtime: Runtime) -> None:
    add_dataset(runtime, write_folder(runtime.settings.home / "pictures", mixed_images(18, [(48, 40), (40, 36)])))
    add_checkpoint(runtime, "straight", tiny_network(classes=3).network, CLASSES)
    add_checkpoint(
        runtime, "rotated", reordered(tiny_network(classes=3).network, [2, 0, 1]), ("class-2", "class-0", "class-1")
    )
    document, scores = evaluate(runtime, "straight", "rotated")

    agree(posteriors(runtime, "straight"), posteriors(runtime, "rotated"))
    for metric in ("top1_error", "nll"):
        values = {name: scores[name, metric].value for name in ("straight", "rotated", "ensemble")}
        assert values["rotated"] == pytest.approx(values["straight"], abs=1e-6), metric
        assert values["ensemble"] == pytest.approx(values["straight"], abs=1e-6), metric

    mapped = {member.checkpoint: member.class_mapping for member in document.checkpoints}
    assert mapped["straight"] is None
    assert mapped["rotated"] is not None
    assert (mapped["rotated"].by, mapped["rotated"].moved) == ("names", 3)
    provenance = {member["checkpoint"]: member["class_mapping"] for member in document.provenance["members"]}
    assert provenance == {"straight": None, "rotated": {"by": "names", "moved": 3}}

    page = create_app(runtime).test_client().get(f"/evaluations/{document.id}").text
    assert page.count("classes matched by names; 3 have another number in it") == 1
    environment = {"SOFTVOTE_HOME": str(runtime.settings.home), "SOFTVOTE_URL": ""}
    shown = CliRunner().invoke(main, ["status", document.id], env=environment).stdout
    assert "straight (Q 34), rotated (Q 34; classes matched by names)" in shown


def test_equal_weights_under_other_class_names_share_no_posteriors(runtime: Runtime) -> None:
    add_dataset(runtime, write_folder(runtime.settings.home / "pictures", mixed_images(9, [(48, 40)])))
    add_checkpoint(runtime, "straight", tiny_network(classes=3).network, CLASSES)
    add_checkpoint(runtime, "mistaken", tiny_network(classes=3).network, CLASSES[::-1])
    evaluate(runtime, "straight", "mistaken")
    agree(posteriors(runtime, "straight"), posteriors(runtime, "mistaken")[:, ::-1])


def test_readable_names_meet_wordnet_ids_on_imagenet(runtime: Runtime) -> None:
    """A network that names the classes in alphabetical order, a data set in the order of WordNet ids."""
    names = [each.name for each in imagenet_classes()]
    alphabetical = sorted(range(1000), key=names.__getitem__)
    manifest = ["# classes: imagenet-1k", "path,label"]
    files = {f"{wnid}.jpg": encoded(photo(40, 36, seed)) for seed, wnid in enumerate(imagenet_wnids()[::250])}
    manifest += [f"{name},{name.removesuffix('.jpg')}" for name in files]
    folder = write_folder(runtime.settings.home / "pictures", {**files, "val.csv": "\n".join(manifest).encode()})
    add_dataset(runtime, folder / "val.csv")
    add_checkpoint(runtime, "unnamed", tiny_network(classes=1000).network, None)
    network = reordered(tiny_network(classes=1000).network, alphabetical)
    add_checkpoint(runtime, "alphabetical", network, tuple(names[label] for label in alphabetical))
    document, _ = evaluate(runtime, "unnamed", "alphabetical")
    agree(posteriors(runtime, "unnamed"), posteriors(runtime, "alphabetical"))
    assert [member.class_mapping and member.class_mapping.by for member in document.checkpoints] == [
        None,
        "imagenet-1k",
    ]


def test_f38_other_classes_are_refused_with_the_first_that_is_missing(runtime: Runtime) -> None:
    add_dataset(runtime, write_folder(runtime.settings.home / "pictures", mixed_images(9, [(48, 40)])))
    add_checkpoint(runtime, "other", tiny_network(classes=3).network, ("class-0", "class-1", "dog"))
    with pytest.raises(InvalidRequestError) as caught:
        evaluate(runtime, "other")
    (problem,) = caught.value.problems
    assert (problem.field, problem.code, problem.value) == ("checkpoints.0", "class_names_mismatch", "dog")
    assert "lacks 'class-2'" in problem.rule
