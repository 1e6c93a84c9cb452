"""Training: resumable to the same weights, learns, hands on what evaluation needs, refuses what cannot work."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ensembles.checkpoints import read_metadata, read_tensors, recognise
from ensembles.configurations import CONFIGURATIONS, Architecture
from ensembles.errors import SpecError
from ensembles.scales import TrainingScale
from ensembles.specs import PREPROCESSING_PRESETS
from workers.image_data import DatasetImages
from workers.training.loop import EpochReport, TrainingDivergedError, in_network_units, state_path, train
from workers.training.plan import TrainingPlan
from workers.training.sources import scan

CLASSES = ("bright", "dark")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DatasetImages:
    """Two classes of 12 noise images each that differ in brightness."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    for name, low in zip(CLASSES, (120, 0), strict=True):
        (root / name).mkdir()
        for number in range(12):
            size = ((40, 48), (48, 40))[number % 2]
            pixels = rng.integers(low, low + 120, (*size, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return scan(root)


@pytest.fixture
def plan() -> TrainingPlan:
    return TrainingPlan(
        TrainingScale(32, 40),
        "A",
        width=1 / 16,
        crop=32,
        epochs=4,
        batch_size=8,
        learning_rate=0.02,
        decay_epochs=(3,),
        dropout=0.25,
        seed=3,
    )


class StoppedError(Exception):
    pass


def stop_after(epoch: int):
    def progress(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise StoppedError

    return progress


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(plan, dataset, tmp_path, batch_norm):
    plan = replace(plan, batch_norm=batch_norm)
    through = train(plan, dataset, tmp_path / "through.safetensors")
    resumed = tmp_path / "resumed.safetensors"
    with pytest.raises(StoppedError):
        train(plan, dataset, resumed, progress=stop_after(2))
    assert not resumed.exists()
    assert state_path(resumed).exists()
    torch.manual_seed(99)  # whatever the process did in between
    torch.rand(5)
    reports: list[EpochReport] = []
    train(plan, dataset, resumed, progress=reports.append, threads=3)
    assert resumed.read_bytes() == (tmp_path / "through.safetensors").read_bytes()
    assert [replace(r, images_per_second=0) for r in reports] == [replace(r, images_per_second=0) for r in through]
    assert not state_path(resumed).exists()


def test_training_leaves_torchs_global_random_state_alone(plan, dataset, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(replace(plan, epochs=1), dataset, tmp_path / "one.safetensors")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"dropout": 0.0},
        {"rgb_shift": 0.0},
        {"hflip": False},
        {"momentum": 0.0},
        {"weight_decay": 0.0},
        {"batch_size": 12},
        {"initialisation": "paper"},
        {"training_scale": TrainingScale(32, 41)},
        {"preprocessing": PREPROCESSING_PRESETS["torchvision"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_choice_in_the_plan_reaches_the_weights(plan, dataset, tmp_path, change):
    for name, variant in (("base", plan), ("changed", replace(plan, **change))):
        train(replace(variant, epochs=1), dataset, tmp_path / f"{name}.safetensors")
    base, changed = (load_file(tmp_path / f"{name}.safetensors") for name in ("base", "changed"))
    assert not all(torch.equal(base[name], changed[name]) for name in base)


def test_colour_shifts_are_put_in_the_networks_units():
    # Red 51 of 255 up: in BGR the last channel; 51 / 255 = 0.2 where pixels end at 1; over its standard deviation.
    shift = np.array([[51.0, 0.0, 0.0]])
    assert in_network_units(shift, PREPROCESSING_PRESETS["caffe-vgg"]).flatten().tolist() == [0, 0, 51]
    assert in_network_units(shift, PREPROCESSING_PRESETS["torchvision"]).flatten().tolist() == pytest.approx(
        [0.2 / 0.229, 0, 0]
    )


def test_a_network_learns_to_tell_bright_from_dark(plan, dataset, tmp_path):
    reports = train(replace(plan, epochs=12, decay_epochs=(10,)), dataset, tmp_path / "a.safetensors")
    assert reports[0].loss > 0.6
    assert reports[-1].loss < 0.1
    assert reports[-1].top1_error == 0


def test_the_learning_rate_falls_to_a_tenth_after_each_decay_epoch(plan, dataset, tmp_path):
    reports = train(plan, dataset, tmp_path / "a.safetensors")
    assert [report.learning_rate for report in reports] == pytest.approx([0.02, 0.02, 0.02, 0.002])


def test_the_rate_falls_three_times_at_most_whenever_the_validation_error_reached_no_new_minimum(plan):
    waiting = replace(plan, learning_rate=1.0, decay_epochs=(), patience=2)
    errors = [0.9, 0.8, 0.8, 0.85, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    rates = [waiting.learning_rate_after(errors[:done]) for done in range(len(errors) + 1)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001, 0.001, 0.001])


def test_a_resumed_run_remembers_its_validation_errors_and_when_the_rate_fell(plan, dataset, tmp_path):
    # So small a rate changes no answer: no epoch after the first is a new minimum.
    waiting = replace(plan, learning_rate=1e-9, decay_epochs=(), patience=1)
    through = train(waiting, dataset, tmp_path / "through.safetensors", validation=dataset)
    assert [report.learning_rate for report in through] == pytest.approx([1e-9, 1e-9, 1e-10, 1e-11])
    assert len({report.validation_error for report in through}) == 1
    with pytest.raises(StoppedError):
        train(waiting, dataset, tmp_path / "resumed.safetensors", validation=dataset, progress=stop_after(2))
    resumed = train(waiting, dataset, tmp_path / "resumed.safetensors", validation=dataset)
    assert [replace(r, images_per_second=0) for r in resumed] == [replace(r, images_per_second=0) for r in through]
    assert (tmp_path / "resumed.safetensors").read_bytes() == (tmp_path / "through.safetensors").read_bytes()


def test_watching_a_validation_set_changes_no_weight(plan, dataset, tmp_path):
    train(replace(plan, batch_norm=True), dataset, tmp_path / "alone.safetensors")
    train(replace(plan, batch_norm=True), dataset, tmp_path / "watched.safetensors", validation=dataset)
    assert (tmp_path / "alone.safetensors").read_bytes() == (tmp_path / "watched.safetensors").read_bytes()


def test_classes_of_the_validation_set_are_matched_by_name(plan, dataset, tmp_path):
    rows = [f"{image.id},{dataset.index.classes[image.label]}" for image in dataset.index.images]
    (dataset.root / "names.txt").write_text("\n".join(reversed(CLASSES)))
    manifest = dataset.root / "reversed.csv"
    manifest.write_text("\n".join(["# classes: names.txt", "path,label", *rows]))
    plan = replace(plan, epochs=8, decay_epochs=())
    straight = train(plan, dataset, tmp_path / "straight.safetensors", validation=dataset)
    turned = train(plan, dataset, tmp_path / "turned.safetensors", validation=scan(manifest))
    assert scan(manifest).index.classes == CLASSES[::-1]
    assert [report.validation_error for report in turned] == [report.validation_error for report in straight]
    assert straight[-1].validation_error == 0


def test_a_run_that_is_reported_step_by_step_counts_every_image_shown(plan, dataset, tmp_path):
    steps: list[tuple[int, int, int]] = []
    train(
        replace(plan, epochs=2, batch_size=7),
        dataset,
        tmp_path / "a.safetensors",
        advance=lambda *step: steps.append(step),
    )
    assert steps == [(epoch, shown, 21) for epoch in (1, 2) for shown in (7, 14, 21)]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_configuration_can_be_trained(plan, dataset, tmp_path, configuration):
    train(replace(plan, configuration=configuration, epochs=1), dataset, tmp_path / "net.safetensors")
    assert recognise(read_tensors(tmp_path / "net.safetensors")) == Architecture(
        configuration, width=1 / 16, classes=2, crop=32
    )


def test_images_that_do_not_fit_the_cache_give_the_same_weights(plan, dataset, tmp_path):
    plan = replace(plan, training_scale=TrainingScale(36, 36), epochs=2)
    train(plan, dataset, tmp_path / "kept.safetensors")
    train(plan, dataset, tmp_path / "read.safetensors", cache_bytes=0)
    assert (tmp_path / "kept.safetensors").read_bytes() == (tmp_path / "read.safetensors").read_bytes()


def test_the_checkpoint_says_how_it_is_to_be_evaluated(plan, dataset, tmp_path):
    output = tmp_path / "a.safetensors"
    train(replace(plan, epochs=1), dataset, output)
    metadata = read_metadata(output)
    assert metadata.training_scale == TrainingScale(32, 40)
    assert metadata.classes == CLASSES
    assert recognise(read_tensors(output)) == plan.architecture(classes=2)
    # The two classes are uniform on 120..240 and 0..120: mean 119.5 of 255, standard deviation 120 / sqrt(3).
    assert metadata.preprocessing is not None
    assert metadata.preprocessing.mean == pytest.approx([119.5 / 255] * 3, abs=0.01)
    assert metadata.preprocessing.std[0] == pytest.approx(120 / np.sqrt(3) / 255, rel=0.25)  # less: resizing smooths


def test_a_checkpoint_to_begin_with_hands_on_its_preprocessing(plan, dataset, tmp_path):
    first = replace(plan, epochs=1, preprocessing=PREPROCESSING_PRESETS["torchvision"])
    train(first, dataset, tmp_path / "first.safetensors")
    train(replace(plan, epochs=1, init_from=tmp_path / "first.safetensors"), dataset, tmp_path / "second.safetensors")
    assert read_metadata(tmp_path / "second.safetensors").preprocessing == PREPROCESSING_PRESETS["torchvision"]


def test_the_state_of_another_plan_is_refused(plan, dataset, tmp_path):
    output = tmp_path / "a.safetensors"
    with pytest.raises(StoppedError):
        train(plan, dataset, output, progress=stop_after(1))
    with pytest.raises(SpecError, match="same plan"):
        train(replace(plan, learning_rate=0.01), dataset, output)
    assert state_path(output).exists()


def test_a_run_that_diverges_says_so_and_leaves_no_checkpoint(plan, dataset, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"epoch 1 at learning rate 1e\+20"):
        train(replace(plan, learning_rate=1e20), dataset, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_more_images_a_batch_than_there_are_is_refused(plan, dataset, tmp_path):
    with pytest.raises(SpecError, match="at most the data set's 24 images; got 25"):
        train(replace(plan, batch_size=25), dataset, tmp_path / "a.safetensors")


def test_every_broken_rule_of_a_plan_is_listed():
    with pytest.raises(SpecError) as caught:
        TrainingPlan(TrainingScale(31, 64), "F", crop=32, epochs=0, learning_rate=float("nan"), decay_epochs=(4, 2))
    broken = {problem.field for problem in caught.value.problems}
    assert broken == {"training_scale", "epochs", "learning_rate", "decay_epochs", "architecture.configuration"}


def test_weight_decay_pulls_weights_to_zero(plan, dataset, tmp_path):
    sizes = []
    for decay in (0.0, 0.5):
        output = tmp_path / f"{decay}.safetensors"
        train(replace(plan, weight_decay=decay, epochs=2), dataset, output)
        sizes.append(sum(float(tensor.square().sum()) for tensor in load_file(output).values()))
    assert sizes[1] < 0.9 * sizes[0]


def test_a_start_that_is_no_network_of_this_width_is_refused(plan, dataset, tmp_path):
    train(replace(plan, epochs=1), dataset, tmp_path / "narrow.safetensors")
    with pytest.raises(SpecError, match=r"init_from: a network with .*'width': 0\.125"):
        train(
            replace(plan, width=1 / 8, init_from=tmp_path / "narrow.safetensors"),
            dataset,
            tmp_path / "wide.safetensors",
        )


def test_a_start_of_the_same_configuration_begins_with_all_its_layers(plan, dataset, tmp_path):
    train(plan, dataset, tmp_path / "first.safetensors")
    # At this rate nothing moves: what comes out is what went in.
    still = replace(plan, epochs=1, learning_rate=1e-30, decay_epochs=(), init_from=tmp_path / "first.safetensors")
    train(still, dataset, tmp_path / "second.safetensors")
    first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("first", "second"))
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=1e-20) for name in first)
