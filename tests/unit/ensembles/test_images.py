"""Images on their way to the networks: read once, shared between views, in order, and held to what was registered."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensembles import images
from ensembles.datasets import scan_image_folder
from ensembles.decoding import decode
from ensembles.errors import DatasetChangedError, UnreadableImageError
from ensembles.images import ImageFile, image_files, resized_copies, stream_resized
from ensembles.preprocessing import resize, resize_settings
from ensembles.specs import ViewSpec
from tests.builders import encoded, oriented, photo, write_folder

VIEW = ViewSpec("dense", 48)


def image_file(tmp_path: Path, data: bytes, name: str = "image.jpg") -> ImageFile:
    (tmp_path / name).write_bytes(data)
    return ImageFile(name, tmp_path / name, hashlib.sha256(data).hexdigest())


def test_every_view_finds_its_own_resized_copy(tmp_path: Path) -> None:
    image = image_file(tmp_path, oriented(photo(90, 60), 6))
    views = [VIEW, replace(VIEW, scale=40), replace(VIEW, resize="bicubic"), replace(VIEW, exif="transpose")]
    copies = resized_copies(image, views)
    assert len(copies) == 4
    for view in views:
        expected = resize(decode(image.path, exif=view.exif), view)
        assert np.array_equal(copies[resize_settings(view)], expected)


def test_an_image_is_decoded_once_and_resized_once_a_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("read_image_file", "decode_bytes", "resize"):
        original = getattr(images, name)
        monkeypatch.setattr(
            images, name, lambda *a, _name=name, _original=original, **k: (calls.append(_name), _original(*a, **k))[1]
        )
    views = [ViewSpec(mode, scale) for scale in (40, 48, 64) for mode in ("dense", "crops")]
    resized_copies(image_file(tmp_path, encoded(photo(90, 60))), views)
    assert sorted(calls) == ["decode_bytes", "read_image_file", "resize", "resize", "resize"]


def test_an_undecodable_image_has_a_reason_for_every_view(tmp_path: Path) -> None:
    copies = resized_copies(image_file(tmp_path, b"no image at all"), [VIEW, replace(VIEW, scale=40)])
    assert [type(copy) for copy in copies.values()] == [UnreadableImageError] * 2


def test_an_image_may_be_readable_at_one_scale_and_over_the_pixel_cap_at_another(tmp_path: Path) -> None:
    small, large = replace(VIEW, max_pixels=4000), replace(VIEW, scale=96, max_pixels=4000)
    copies = resized_copies(image_file(tmp_path, encoded(photo(90, 60))), [small, large])
    assert isinstance(copies[resize_settings(small)], np.ndarray)
    assert isinstance(copies[resize_settings(large)], UnreadableImageError)


def test_a_file_with_other_content_than_registered_is_refused(tmp_path: Path) -> None:
    image = image_file(tmp_path, encoded(photo(90, 60)))
    image.path.write_bytes(encoded(photo(90, 60, seed=1)))
    with pytest.raises(DatasetChangedError) as caught:
        resized_copies(image, [VIEW])
    assert caught.value.image_id == "image.jpg"
    assert isinstance(resized_copies(replace(image, sha256=None), [VIEW])[resize_settings(VIEW)], np.ndarray)


@pytest.mark.parametrize("fault", ["deleted", "pipe", "folder"])
def test_a_registered_file_that_is_gone_is_a_changed_data_set_and_no_unreadable_image(
    tmp_path: Path, fault: str
) -> None:
    image = image_file(tmp_path, encoded(photo(90, 60)))
    image.path.unlink()
    if fault == "pipe":
        os.mkfifo(image.path)
    elif fault == "folder":
        image.path.mkdir()
    with pytest.raises(DatasetChangedError):
        resized_copies(image, [VIEW])
    unregistered = resized_copies(replace(image, sha256=None), [VIEW])
    assert isinstance(unregistered[resize_settings(VIEW)], UnreadableImageError)


def test_an_empty_file_that_was_empty_when_registered_is_an_unreadable_image(tmp_path: Path) -> None:
    copies = resized_copies(image_file(tmp_path, b""), [VIEW])
    assert isinstance(copies[resize_settings(VIEW)], UnreadableImageError)


def test_the_files_of_a_data_set_are_in_canonical_order_with_their_registered_hashes(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"{c}/{i}.jpg": encoded(photo(20, 20, i)) for i in range(5) for c in "ab"})
    index = scan_image_folder(tmp_path)
    files = image_files(tmp_path, index)
    assert tuple(file.id for file in files) == index.ids
    assert [file.sha256 for file in files] == [hashlib.sha256(file.path.read_bytes()).hexdigest() for file in files]


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (3, 4), (2, 100)])
def test_a_stream_keeps_the_order(tmp_path: Path, threads: int, ahead: int) -> None:
    files = [image_file(tmp_path, encoded(photo(50 + i, 48)), f"{i}.jpg") for i in range(20)]
    stream = stream_resized(files, [VIEW], threads=threads, ahead=ahead)
    assert [copies[resize_settings(VIEW)].shape[1] for copies in stream] == list(range(50, 70))


def test_a_stream_reads_no_further_ahead_than_asked_and_ends_its_threads_when_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [image_file(tmp_path, encoded(photo(50, 48)), f"{i}.jpg") for i in range(40)]
    started: list[str] = []
    original = images.resized_copies
    monkeypatch.setattr(
        images, "resized_copies", lambda file, views: (started.append(file.id), original(file, views))[1]
    )
    stream = stream_resized(files, [VIEW], threads=2, ahead=5)
    next(stream)
    stream.close()
    assert len(started) <= 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_fault_in_a_thread_reaches_the_consumer(tmp_path: Path) -> None:
    files = [image_file(tmp_path, encoded(photo(50, 48)), f"{i}.jpg") for i in range(6)]
    files[3].path.unlink()
    stream = stream_resized(files, [VIEW])
    for _ in range(3):
        next(stream)
    with pytest.raises(DatasetChangedError, match=r"3\.jpg"):
        next(stream)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
