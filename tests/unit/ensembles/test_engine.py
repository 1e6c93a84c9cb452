"""The engine: equal to a slow reference, whatever the batches; the same bits, however the work is cut."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from ensembles import engine
from ensembles.architectures import block_size
from ensembles.checkpoints import Checkpoint, file_sha256, save_checkpoint
from ensembles.engine import ImageFile, LoadedNetwork, PredictedRange, Progress, predict
from ensembles.errors import NonFiniteOutputError, PredictionStoppedError, ScaleTooSmallError, SpecError
from ensembles.metrics import top_k_errors
from ensembles.specs import PREPROCESSING_PRESETS, Preprocessing, ViewSpec
from tests.builders import encoded, mixed_images, photo, write_folder
from tests.reference import ReferenceNetwork, posterior
from tests.tiny_nets import tiny_network, tiny_vgg

SIZES = [(90, 60), (60, 90), (71, 71), (50, 40), (133, 48)]
DENSE, CROPS = ViewSpec("dense", 48), ViewSpec("crops", 48, crop_grid=3)


def write_images(root: Path, count: int, sizes: list[tuple[int, int]] = SIZES) -> list[ImageFile]:
    files = mixed_images(count, sizes)
    write_folder(root, files)
    return [ImageFile(name, root / name) for name in files]


@pytest.fixture(scope="module")
def network() -> LoadedNetwork:
    return tiny_network("tiny-a")


@pytest.fixture(scope="module")
def prime_images(tmp_path_factory: pytest.TempPathFactory) -> list[ImageFile]:
    """101 images of three sizes, so that most of a block shares a batch and no batch size divides their number."""
    return write_images(tmp_path_factory.mktemp("prime"), 101, [(60, 40), (60, 40), (40, 60), (60, 40), (44, 44)])


def assert_same_bits(one: PredictedRange, other: PredictedRange) -> None:
    assert np.array_equal(one.probs, other.probs, equal_nan=True)


REFERENCE_CASES = [
    ({"configuration": "A"}, "torchvision", ViewSpec("dense", 48)),
    ({"configuration": "A-LRN"}, "vgg-mean", ViewSpec("dense", 40, score_pooling="probs", hflip=False)),
    (
        {"configuration": "B", "crop": 64},
        "caffe-vgg",
        ViewSpec("dense", 75, pool_rounding="ceil", long_side="ceil", resize="bicubic"),
    ),
    ({"configuration": "C"}, "torchvision", ViewSpec("dense", 57, score_pooling="probs_max", resize="nearest")),
    ({"configuration": "D", "batch_norm": True}, "caffe-vgg", ViewSpec("dense", 48, long_side="round")),
    ({"configuration": "A"}, "torchvision", ViewSpec("crops", 39)),
    ({"configuration": "B-5x5"}, "torchvision", ViewSpec("crops", 45, crop_grid="ten", long_side="ceil")),
    (
        {"configuration": "E", "batch_norm": True, "std": 0.7},  # 19 layers of float32 rounding
        "vgg-mean",
        ViewSpec("crops", 41, crop_grid="center", hflip=False),
    ),
    ({"configuration": "D", "crop": 64}, "caffe-vgg", ViewSpec("crops", 64, crop_grid=2, resize="bicubic")),
]


@pytest.mark.parametrize(
    ("options", "preset", "view"),
    REFERENCE_CASES,
    ids=[f"{c[0]['configuration']}-{c[2].mode}" for c in REFERENCE_CASES],
)
def test_posteriors_equal_the_slow_reference(
    tmp_path: Path, options: dict[str, object], preset: str, view: ViewSpec
) -> None:
    check_against_reference(write_images(tmp_path, 11), options, preset, view)


@pytest.mark.parametrize("filter_name", ["bilinear", "bicubic"])
def test_posteriors_equal_the_slow_reference_without_antialias(tmp_path: Path, filter_name: str) -> None:
    # At exactly half the size, interpolation weights are exact in float32 too, and every half is rounded alike.
    images = write_images(tmp_path, 11, [(96, 120), (150, 96), (96, 96)])
    view = ViewSpec("dense", 48, antialias=False, resize=filter_name)
    check_against_reference(images, {"configuration": "A", "batch_norm": True}, "torchvision", view)


def check_against_reference(images: list[ImageFile], options: dict[str, object], preset: str, view: ViewSpec) -> None:
    preprocessing = PREPROCESSING_PRESETS[preset]
    network = tiny_network("tiny", preprocessing=preprocessing, width=1 / 16, **{"std": 1.5, **options})
    (result,) = predict([network], images, [view])
    slow = ReferenceNetwork(network.network, preprocessing.to_dict())
    expected = np.stack([posterior(slow, image.path, dataclasses.asdict(view)) for image in images])
    assert np.abs(result.probs - expected).max() < 1e-5
    assert result.probs.dtype == np.float32
    assert np.allclose(result.probs.sum(axis=1), 1, atol=1e-6)
    # The comparison would be empty if the network said the same of every image.
    assert len(set(expected.argmax(1))) >= 2
    assert expected.std(axis=0).max() > 0.05


@pytest.mark.parametrize("view", [DENSE, CROPS], ids=["dense", "crops"])
def test_batch_sizes_agree_and_give_equal_errors(
    network: LoadedNetwork, prime_images: list[ImageFile], view: ViewSpec
) -> None:
    labels = np.arange(101) % 5
    (reference,) = predict([network], prime_images, [view])
    for max_batch in (1, 7, 64, 101):
        (result,) = predict([network], prime_images, [view], max_batch=max_batch)
        assert np.abs(result.probs - reference.probs).max() < 1e-5
        for k in (1, 2):
            assert np.array_equal(top_k_errors(result.probs, labels, k), top_k_errors(reference.probs, labels, k))


def test_no_batch_is_larger_than_asked_nor_leaves_its_aligned_block(tmp_path: Path, network: LoadedNetwork) -> None:
    images = write_images(tmp_path, 101, [(60, 40)])
    view = dataclasses.replace(DENSE, hflip=False)
    assert block_size(network.architecture, view) == 64
    batches: list[int] = []
    hook = network.network.features[0].register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    try:
        predict([network], images, [view])
        assert batches == [64, 37]
        batches.clear()
        predict([network], images, [view], start=30)
        assert batches == [34, 37]
        batches.clear()
        predict([network], images, [view], max_batch=30)
        assert batches == [30, 30, 4, 30, 7]
        batches.clear()
        predict([network], images, [CROPS], max_batch=7, stop=2)
        assert batches == [7, 7, 4, 7, 7, 4]
    finally:
        hook.remove()


def test_a_small_block_keeps_its_borders_in_the_company_of_a_large_one(tmp_path: Path, network: LoadedNetwork) -> None:
    images = write_images(tmp_path, 34, [(40, 40)])
    costly = tiny_network("costly", configuration="B", width=1 / 4)
    view = ViewSpec("dense", 256, hflip=False)
    assert block_size(costly.architecture, view) == 32
    batches: list[int] = []
    costly.network.features[0].register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    predict([network, costly], images, [[DENSE], [view]], start=30)
    assert batches == [2, 2]


def test_long_strips_share_a_batch_only_up_to_the_pixels_one_image_may_have(
    tmp_path: Path, network: LoadedNetwork
) -> None:
    images = write_images(tmp_path, 10, [(400, 40)])
    batches: list[int] = []
    hook = network.network.features[0].register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    try:
        predict([network], images, [ViewSpec("dense", 40, hflip=False, max_pixels=4 * 400 * 40)])
        assert batches == [4, 4, 2]
    finally:
        hook.remove()


def test_cutting_at_block_multiples_changes_no_bit(network: LoadedNetwork, prime_images: list[ImageFile]) -> None:
    views = [DENSE, CROPS, ViewSpec("dense", 40, score_pooling="probs", pool_rounding="ceil")]
    other = tiny_network("tiny-d", configuration="D", batch_norm=True, crop=32, seed=4)
    whole = predict([network, other], prime_images, views)
    parts = [predict([network, other], prime_images, views, start=a, stop=b) for a, b in ((0, 64), (64, 101))]
    for job, result in enumerate(whole):
        assert np.array_equal(np.concatenate([part[job].probs for part in parts]), result.probs)
        assert [(part[job].start, part[job].stop) for part in parts] == [(0, 64), (64, 101)]


def test_crops_may_be_cut_anywhere(network: LoadedNetwork, prime_images: list[ImageFile]) -> None:
    (whole,) = predict([network], prime_images, [CROPS], stop=20)
    parts = [predict([network], prime_images, [CROPS], start=a, stop=b)[0] for a, b in ((0, 7), (7, 8), (8, 20))]
    assert np.array_equal(np.concatenate([part.probs for part in parts]), whole.probs)


def test_company_order_and_threads_change_no_bit(network: LoadedNetwork, prime_images: list[ImageFile]) -> None:
    (alone,) = predict([network], prime_images, [DENSE])
    together = predict([tiny_network("other", seed=3), network], prime_images, [CROPS, DENSE], decode_threads=5)
    assert [(result.checkpoint, result.view) for result in together] == [
        ("other", CROPS),
        ("other", DENSE),
        ("tiny-a", CROPS),
        ("tiny-a", DENSE),
    ]
    assert_same_bits(together[3], alone)


def test_the_last_partial_batch_counts(network: LoadedNetwork, prime_images: list[ImageFile]) -> None:
    for result in predict([network], prime_images, [DENSE, CROPS]):
        assert result.probs.shape == (101, 5)
        assert result.posteriors.readable.all()
        (last,) = predict([network], prime_images[100:], [result.view])
        assert np.allclose(last.probs[0], result.probs[100], atol=1e-6)
        assert not np.allclose(result.probs[100], result.probs[99], atol=1e-3)


def test_each_checkpoint_can_have_its_own_views(network: LoadedNetwork, prime_images: list[ImageFile]) -> None:
    other = tiny_network("larger", crop=64)
    results = predict([network, other], prime_images, [[DENSE], [ViewSpec("dense", 64), ViewSpec("crops", 70)]], stop=3)
    assert [(r.checkpoint, r.view.mode, r.view.scale) for r in results] == [
        ("tiny-a", "dense", 48),
        ("larger", "dense", 64),
        ("larger", "crops", 70),
    ]


def test_checkpoints_on_disk_are_loaded_and_give_the_bits_of_loaded_networks(
    tmp_path: Path, network: LoadedNetwork, prime_images: list[ImageFile]
) -> None:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, network.network)
    checkpoint = Checkpoint(path, file_sha256(path), network.architecture, network.preprocessing, "from-disk")
    results = predict([checkpoint, network], prime_images, [DENSE, CROPS], stop=10)
    assert results[0].checkpoint == "from-disk"
    assert_same_bits(results[0], results[2])
    assert_same_bits(results[1], results[3])


def test_a_network_left_in_training_mode_is_evaluated_without_dropout(prime_images: list[ImageFile]) -> None:
    network = LoadedNetwork("tiny", tiny_vgg(batch_norm=True).train(), Preprocessing())
    first, second = (predict([network], prime_images, [DENSE], stop=8)[0] for _ in range(2))
    assert_same_bits(first, second)
    reference = LoadedNetwork("tiny", tiny_vgg(batch_norm=True), Preprocessing())
    assert_same_bits(predict([reference], prime_images, [DENSE], stop=8)[0], first)


def test_unreadable_images_have_nan_rows_and_reasons_and_disturb_no_other(
    tmp_path: Path, network: LoadedNetwork
) -> None:
    images = write_images(tmp_path, 12)
    (clean,) = predict([network], images, [CROPS])
    images[2].path.write_bytes(b"not an image")
    images[7].path.write_bytes(encoded(photo(64, 64))[:400])
    dense, crops = predict([network], images, [DENSE, CROPS], start=1)
    for result in (dense, crops):
        assert [(bad.index, bad.image_id) for bad in result.unreadable] == [(2, images[2].id), (7, images[7].id)]
        assert "JPEG" in result.unreadable[0].reason
        assert "truncated" in result.unreadable[1].reason
        assert np.flatnonzero(np.isnan(result.probs).all(axis=1)).tolist() == [1, 6]
        assert np.isnan(result.probs).any(axis=1).sum() == 2
    readable = crops.posteriors.readable
    assert np.array_equal(crops.probs[readable], clean.probs[1:][readable])


def test_an_image_over_the_pixel_cap_of_one_view_is_still_predicted_under_another(
    tmp_path: Path, network: LoadedNetwork
) -> None:
    images = write_images(tmp_path, 2, [(60, 40), (600, 40)])
    small, capped = ViewSpec("dense", 40), ViewSpec("dense", 48, max_pixels=20_000)
    free, bounded = predict([network], images, [small, capped])
    assert free.unreadable == ()
    assert [bad.index for bad in bounded.unreadable] == [1]
    assert "20,000 pixels" in bounded.unreadable[0].reason


def test_a_data_set_without_a_readable_image_is_all_nan(tmp_path: Path, network: LoadedNetwork) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (result,) = predict([network], [ImageFile("a.jpg", tmp_path / "a.jpg")], [DENSE])
    assert np.isnan(result.probs).all()
    assert len(result.unreadable) == 1


@pytest.mark.parametrize("mode", ["dense", "crops"])
def test_a_non_finite_score_is_an_error_that_names_checkpoint_and_first_image(tmp_path: Path, mode: str) -> None:
    vgg = tiny_vgg()
    for parameter in vgg.parameters():
        parameter.fill_(1e30 if parameter.dim() > 1 else 0)
    network = LoadedNetwork("exploding", vgg, Preprocessing("rgb", 255, (0, 0, 0), (1, 1, 1)))
    images = write_images(tmp_path, 6, [(60, 40)])
    for black in (0, 1, 2):
        images[black].path.write_bytes(encoded(photo(60, 40).point(lambda _: 0), "png"))
    with pytest.raises(NonFiniteOutputError) as caught:
        predict([network], images, [ViewSpec(mode, 48)])
    assert (caught.value.checkpoint, caught.value.image_id) == ("exploding", images[3].id)


def test_overflow_of_half_precision_is_an_error_and_never_a_class(tmp_path: Path) -> None:
    vgg = tiny_vgg()
    vgg.features[0].weight.mul_(3000)
    network = LoadedNetwork("large", vgg, PREPROCESSING_PRESETS["vgg-mean"])
    images = write_images(tmp_path, 3)
    predict([network], images, [DENSE])
    with pytest.raises(NonFiniteOutputError):
        predict([network], images, [dataclasses.replace(DENSE, dtype="float16")])


def test_half_precision_posteriors_are_float32_distributions_near_the_full_ones(
    network: LoadedNetwork, prime_images: list[ImageFile]
) -> None:
    views = [DENSE, dataclasses.replace(DENSE, dtype="bfloat16"), dataclasses.replace(DENSE, dtype="float16")]
    full, *halves = predict([network], prime_images, views, stop=30)
    for half, tolerance in zip(halves, (0.2, 0.02), strict=True):
        assert half.probs.dtype == np.float32
        assert np.allclose(half.probs.sum(axis=1), 1, atol=1e-6)
        assert 1e-6 < np.abs(half.probs - full.probs).max() < tolerance


@pytest.mark.parametrize("view", [DENSE, CROPS], ids=["dense", "crops"])
@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_stopping_takes_effect_before_the_next_forward_pass(
    network: LoadedNetwork, prime_images: list[ImageFile], view: ViewSpec, allowed: int
) -> None:
    passes: list[int] = []
    hook = network.network.features[0].register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        with pytest.raises(PredictionStoppedError) as caught:
            predict([network], prime_images, [view], max_batch=4, should_stop=lambda: len(passes) >= allowed)
    finally:
        hook.remove()
    assert len(passes) == caught.value.forward_passes == allowed
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_progress_moves_with_every_forward_pass_and_ends_at_its_total(tmp_path: Path, network: LoadedNetwork) -> None:
    images = write_images(tmp_path, 10)
    images[4].path.write_bytes(b"")
    reports: list[Progress] = []
    predict([network], images, [DENSE, CROPS], start=2, progress=reports.append)
    assert all(report.total == 16 for report in reports)
    assert reports[-1].predictions == 16
    assert [report.predictions for report in reports] == sorted(report.predictions for report in reports)
    passes = [report.forward_passes for report in reports]
    assert sorted(set(passes)) == list(range(passes[-1] + 1))[passes[0] :]


def test_an_error_in_a_callback_reaches_the_caller(network: LoadedNetwork, prime_images: list[ImageFile]) -> None:
    with pytest.raises(ZeroDivisionError):
        predict([network], prime_images, [DENSE], progress=lambda _: 1 / 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_an_empty_range_and_no_views_are_answered_emptily(
    network: LoadedNetwork, prime_images: list[ImageFile]
) -> None:
    (result,) = predict([network], prime_images, [DENSE], start=64, stop=64)
    assert result.probs.shape == (0, 5)
    assert predict([network], prime_images, []) == ()
    assert predict([], prime_images, [DENSE]) == ()


def test_bad_arguments_are_named_all_at_once(network: LoadedNetwork, prime_images: list[ImageFile]) -> None:
    with pytest.raises(SpecError) as caught:
        predict([network], prime_images, [DENSE], start=5, stop=102, max_batch=0, decode_threads=0)
    assert [problem.field for problem in caught.value.problems] == ["start, stop", "max_batch", "decode_threads"]
    for views in ([[DENSE], [DENSE]], [DENSE, [DENSE]]):
        with pytest.raises(SpecError, match="one a checkpoint"):
            predict([network], prime_images, views)


def test_a_scale_below_the_crop_is_refused_before_any_image_is_read(network: LoadedNetwork) -> None:
    missing = [ImageFile("a.jpg", Path("/nonexistent/a.jpg"), "0" * 64)]
    for view in (ViewSpec("dense", 31), ViewSpec("dense", 31, pool_rounding="ceil"), ViewSpec("crops", 31)):
        with pytest.raises(ScaleTooSmallError, match="tiny-a"):
            predict([network], missing, [view])


def test_the_caller_s_float32_switches_survive(network: LoadedNetwork, prime_images: list[ImageFile]) -> None:
    torch.set_float32_matmul_precision("high")
    try:
        predict([network], prime_images, [DENSE], stop=2)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_what_a_notebook_needs_is_in_one_module() -> None:
    assert set(engine.__all__) >= {"predict", "load", "LoadedNetwork", "ImageFile", "image_files", "PredictedRange"}
