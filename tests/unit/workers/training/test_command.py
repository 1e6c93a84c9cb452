"""`softvote train`: killed and interrupted runs go on to the same bytes; what comes out needs no explanation."""

from __future__ import annotations

import json
import signal
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from app.cli.main import main

CLASSES = ("bright", "dark")
#: A network in miniature, so that an epoch takes a moment.
SMALL = ("--config", "A", "--width", "0.0625", "--crop", "32", "--train-scale", "32-40", "--threads", "1")
SHORT = (*SMALL, "--batch-size", "8", "--epochs", "2")


def noise_images(root: Path, count: int, seed: int) -> Path:
    """Two classes of `count` noise images each that differ in brightness, some more than others."""
    rng = np.random.default_rng(seed)
    for name, low in zip(CLASSES, (40, 0), strict=True):
        (root / name).mkdir(parents=True)
        for number in range(count):
            size = ((40, 48), (48, 40))[number % 2]
            pixels = rng.integers(low, low + 120, (*size, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_images(tmp_path_factory.mktemp("images") / "train", 12, seed=1)


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_images(tmp_path_factory.mktemp("images") / "val", 10, seed=2)


@pytest.fixture(autouse=True)
def threads_of_the_process():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(home: Path, *arguments: object, **environment: str) -> Result:
    env = {"SOFTVOTE_HOME": str(home), "SOFTVOTE_URL": "", **environment}
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)


def document(home: Path, *arguments: object) -> dict[str, object]:
    """What a command that succeeds prints as JSON."""
    result = run(home, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def command(images: Path, validation: Path, output: Path) -> list[str]:
    options = (*SMALL, "--batch-size", "8", "--epochs", "12", "--seed", "5")
    program = str(Path(sysconfig.get_path("scripts")) / "softvote")
    return [program, "train", *options, "--dataset", str(images), "--val", str(validation), "--output", str(output)]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough images that an epoch is not over before a signal arrives."""
    return noise_images(tmp_path_factory.mktemp("many") / "train", 60, seed=3)


@pytest.fixture(scope="module")
def undisturbed(many: Path, validation: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("undisturbed") / "net.safetensors"
    subprocess.run(command(many, validation, output), check=True, capture_output=True)
    return output.read_bytes()


@pytest.mark.slow
def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_the_same_command_goes_on_to_the_same_bytes(
    ending: signal.Signals, many: Path, validation: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "net.safetensors"
    arguments = command(many, validation, output)
    # What a shell starts in the background ignores Ctrl-C, and so would all that it starts.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, **pipes, text=True, preexec_fn=_hear_ctrl_c) as process:  # noqa: PLW1509 - no threads here
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[0] == "3/12":
                process.send_signal(ending)
                break
        _, messages = process.communicate()
    state = output.with_suffix(".training")
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[ending]
    assert state.exists()
    assert not output.exists()
    if ending == signal.SIGINT:
        assert f"of 12 epochs are kept in {state}; the same command goes on from there" in messages

    again = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert f"Going on from {state}" in again
    assert output.read_bytes() == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_the_validation_error_is_what_the_service_measures_of_the_finished_network(
    images: Path, validation: Path, tmp_path: Path
) -> None:
    output = tmp_path / "net.safetensors"
    document(tmp_path, "dataset", "add", validation, "--name", "held-out")
    trained = document(
        tmp_path, "train", *SHORT, "--dataset", images, "--val", "held-out", "--output", output, "--learning-rate", 0.02
    )
    added = document(tmp_path, "checkpoint", "add", output)
    assert added["training_scale"] == trained["training_scale"] == [32, 40]
    assert added["preprocessing"] == trained["preprocessing"]
    assert trained["class_names"] == list(CLASSES)
    assert added["sha256"] == trained["sha256"]
    assert (added["classes"], trained["classes"]) == (2, 2)

    wanted = ("--dataset", "held-out", "--checkpoint", "net", "--protocol", "vgg-single-scale", "--local")
    evaluation = document(tmp_path, "evaluate", *wanted)
    (measured,) = {
        score["value"]
        for score in evaluation["scores"]
        if score["metric"] == "top1_error" and score["subject"] == "checkpoint"
    }
    assert [epoch["epoch"] for epoch in trained["epochs"]] == [1, 2]
    assert trained["epochs"][-1]["validation_error"] == measured


def test_a_registered_data_set_and_its_folder_train_the_same_network(images: Path, tmp_path: Path) -> None:
    document(tmp_path, "dataset", "add", images, "--name", "registered")
    files = [tmp_path / "by-name.safetensors", tmp_path / "by-path.safetensors"]
    for source, output in zip(("registered", images), files, strict=True):
        document(tmp_path, "train", *SHORT, "--dataset", source, "--output", output)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_deeper_network_begins_with_a_checkpoint_of_a(images: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    a = document(tmp_path, "train", *SHORT, "--dataset", images, "--output", first, "--preprocess", "torchvision")
    deeper = [*SHORT, "--config", "B", "--init", first, "--dataset", images, "--output", second]
    b = document(tmp_path, "train", *deeper)
    assert (a["architecture"], b["architecture"]) == ("vgg11", "vgg13")
    assert b["preprocessing"] == a["preprocessing"]
    assert b["plan"]["init_from"] == str(first)


def test_every_option_reaches_the_plan(images: Path, validation: Path, tmp_path: Path) -> None:
    given = {
        "--config": "A-LRN",
        "--width": 1 / 8,
        "--crop": 32,
        "--train-scale": "34-38",
        "--init": "paper",
        "--epochs": 1,
        "--batch-size": 7,
        "--learning-rate": 1e-4,
        "--patience": 2,
        "--momentum": 0.8,
        "--weight-decay": 1e-3,
        "--dropout": 0.3,
        "--rgb-shift": 0.2,
        "--preprocess": "torchvision",
        "--seed": 9,
        "--dataset": images,
        "--val": validation,
        "--output": tmp_path / "net.safetensors",
    }
    words = [word for pair in given.items() for word in pair]
    trained = document(tmp_path, "train", *words, "--batch-norm", "--no-flips", "--threads", 1)
    preprocessing = trained["preprocessing"]
    assert trained["plan"] == {
        "training_scale": [34, 38],
        "configuration": "A-LRN",
        "width": 1 / 8,
        "batch_norm": True,
        "crop": 32,
        "epochs": 1,
        "batch_size": 7,
        "learning_rate": 1e-4,
        "decay_epochs": [],
        "patience": 2,
        "momentum": 0.8,
        "weight_decay": 1e-3,
        "dropout": 0.3,
        "hflip": False,
        "rgb_shift": 0.2,
        "initialisation": "paper",
        "init_from": None,
        "preprocessing": preprocessing,
        "seed": 9,
    }
    assert preprocessing["mean"] == [0.485, 0.456, 0.406]


def test_the_defaults_are_the_papers_and_its_schedule_needs_a_validation_set(
    images: Path, validation: Path, tmp_path: Path
) -> None:
    alone = document(tmp_path, "train", *SHORT, "--dataset", images, "--output", tmp_path / "alone.safetensors")
    plan = alone["plan"]
    assert (plan["learning_rate"], plan["momentum"], plan["weight_decay"]) == (0.01, 0.9, 5e-4)
    assert (plan["dropout"], plan["hflip"], plan["initialisation"]) == (0.5, True, "he")
    assert (plan["decay_epochs"], plan["patience"]) == ([37, 56, 67], None)
    with_val = (*SHORT, "--dataset", images, "--val", validation)
    watched = document(tmp_path, "train", *with_val, "--output", tmp_path / "watched.safetensors")["plan"]
    assert (watched["decay_epochs"], watched["patience"]) == ([], 5)
    stepped = (*with_val, "--decay-epochs", "1", "--output", tmp_path / "stepped.safetensors")
    both = document(tmp_path, "train", *stepped)
    assert [epoch["learning_rate"] for epoch in both["epochs"]] == pytest.approx([0.01, 0.001])
    assert both["epochs"][0]["validation_error"] is not None


def test_a_run_prints_a_line_an_epoch_the_curves_and_the_next_command(
    images: Path, validation: Path, tmp_path: Path
) -> None:
    output = tmp_path / "net.safetensors"
    result = run(tmp_path, "train", *SHORT, "--dataset", images, "--val", validation, "--output", output)
    assert result.exit_code == 0, result.output
    assert "vgg11" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith(("1/2  loss", "2/2  loss"))]
    assert len(lines) == 2
    for word in ("train error", "validation error", "learning rate 0.01", "images/s"):
        assert all(word in line for line in lines)
    assert ". train error   o validation error" in result.stdout
    assert result.stdout.splitlines()[-1] == f"softvote checkpoint add {output}"


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        (("--config", "F"), "invalid_spec", "architecture.configuration"),
        (("--width", "0"), "invalid_spec", "width"),
        (("--crop", "33"), "invalid_spec", "crop"),
        (("--train-scale", "512-256"), "invalid_spec", "training_scale"),
        (("--train-scale", "31"), "invalid_spec", "at least the crop, 32 px"),
        (("--epochs", "0"), "invalid_spec", "epochs: a whole number of at least 1; got 0"),
        (("--batch-size", "25"), "invalid_spec", "at most the data set's 24 images; got 25"),
        (("--learning-rate", "nan"), "invalid_spec", "learning_rate"),
        (("--decay-epochs", "2,x"), "invalid_spec", "decay_epochs"),
        (("--decay-epochs", "2,1"), "invalid_spec", "decay_epochs"),
        (("--patience", "3"), "invalid_spec", "patience: none without a validation set"),
        (("--patience", "3", "--decay-epochs", "1"), "invalid_spec", "no decay_epochs beside it"),
        (("--momentum", "1"), "invalid_spec", "momentum"),
        (("--weight-decay", "-1"), "invalid_spec", "weight_decay"),
        (("--dropout", "1"), "invalid_spec", "dropout"),
        (("--rgb-shift", "-0.1"), "invalid_spec", "rgb_shift"),
        (("--seed", "-1"), "invalid_spec", "seed"),
        (("--init", "xavier"), "invalid_spec", "init: he, paper, or the path of a checkpoint; got 'xavier'"),
        (("--preprocess", "torchvison"), "unknown_name", "did you mean torchvision?"),
        (("--device", "cuda:99"), "configuration", "--device"),
        (("--dataset", "no/such/folder"), "invalid_spec", "dataset: the path of a folder or manifest"),
        (("--dataset", "nothing"), "not_found", "no data set 'nothing'"),
        (("--val", "no/such/folder"), "invalid_spec", "val: the path of a folder or manifest"),
        (("--output", "net.pth"), "invalid_spec", "output: a name ending in .safetensors"),
        (("--output", "no/such/net.safetensors"), "invalid_spec", "output: a file in a folder that exists"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_named_with_its_rule_and_a_code(
    wrong: tuple[str, ...], code: str, said: str, images: Path, tmp_path: Path
) -> None:
    right = (*SHORT, "--dataset", images, "--output", tmp_path / "net.safetensors")
    result = run(tmp_path / "home", "train", *right, *wrong)
    assert result.exit_code == (4 if code == "configuration" else 2)
    assert f"[{code}]" in result.stderr
    assert said in result.stderr
    assert not list(tmp_path.glob("net.*"))


def test_data_sets_of_a_server_are_no_files_here(images: Path, tmp_path: Path) -> None:
    options = (*SHORT, "--dataset", "digits", "--output", tmp_path / "net.safetensors")
    result = run(tmp_path, "train", *options, SOFTVOTE_URL="http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "dataset: a path while SOFTVOTE_URL is set" in result.stderr
    by_path = (*SHORT, "--dataset", images, "--output", tmp_path / "net.safetensors")
    assert run(tmp_path, "train", *by_path, SOFTVOTE_URL="http://127.0.0.1:9").exit_code == 0


def test_a_validation_set_of_other_classes_is_refused(images: Path, tmp_path: Path) -> None:
    other = noise_images(tmp_path / "other", 2, seed=4)
    (other / "dark").rename(other / "dim")
    result = run(
        tmp_path, "train", *SHORT, "--dataset", images, "--val", other, "--output", tmp_path / "net.safetensors"
    )
    assert result.exit_code == 2
    assert "[class_names_mismatch]" in result.stderr


def test_a_finished_checkpoint_is_not_trained_anew(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.safetensors"
    arguments = ("train", *SHORT, "--dataset", images, "--output", output)
    document(tmp_path, *arguments)
    trained = output.read_bytes()
    result = run(tmp_path, *arguments)
    assert result.exit_code == 2
    assert "output: a file that does not exist yet" in result.stderr
    assert output.read_bytes() == trained


def test_a_file_that_is_no_state_is_refused_and_kept(images: Path, tmp_path: Path) -> None:
    (tmp_path / "net.training").write_bytes(b"notes")
    result = run(tmp_path, "train", *SHORT, "--dataset", images, "--output", tmp_path / "net.safetensors")
    assert result.exit_code == 2
    assert "state: the state of a run with the same plan" in result.stderr
    assert (tmp_path / "net.training").read_bytes() == b"notes"


def test_the_image_that_changed_while_the_data_set_was_registered_is_named(images: Path, tmp_path: Path) -> None:
    root = noise_images(tmp_path / "moving", 6, seed=6)
    document(tmp_path, "dataset", "add", root, "--name", "moving")
    Image.new("RGB", (40, 40)).save(root / "dark" / "3.png")
    output = tmp_path / "net.safetensors"
    result = run(tmp_path, "train", *SHORT, "--dataset", "moving", "--output", output)
    assert result.exit_code == 2
    assert "[dataset_changed]" in result.stderr
    assert "dark/3.png" in result.stderr
