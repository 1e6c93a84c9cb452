import hashlib
import os
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ensembles.datasets import DatasetIndex, ImageRecord, scan_image_folder
from ensembles.errors import DatasetFormatError, EmptyDatasetError

CLASSES = ("ant", "bee", "cat")


def record(image_id, label=0, sha256="0" * 64):
    return ImageRecord(image_id, label, sha256, 4, 3, 10)


def index_of(count, classes=CLASSES):
    images = tuple(record(f"{classes[i % len(classes)]}/{i:04}.jpg", i % len(classes)) for i in range(count))
    return DatasetIndex("image_folder", classes, images)


def write_image(path, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 30, 10)).save(path)
    return path


def test_the_canonical_order_is_that_of_the_ids_sha256():
    index = index_of(50)
    assert list(index.ids) == sorted(index.ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())
    assert list(index.ids) != sorted(index.ids)


def test_the_canonical_order_does_not_depend_on_the_order_given():
    index = index_of(50)
    assert DatasetIndex("image_folder", CLASSES, index.images[::-1]) == index
    assert DatasetIndex("image_folder", CLASSES, tuple(sorted(index.images, key=lambda image: image.id))) == index


def test_the_first_images_are_a_sample_of_every_class():
    assert set(index_of(300).labels[:30].tolist()) == {0, 1, 2}


def test_labels_follow_the_canonical_order_and_cannot_be_changed():
    index = index_of(7)
    assert index.labels.dtype == np.int64
    assert [CLASSES[label] for label in index.labels] == [image_id.split("/")[0] for image_id in index.ids]
    with pytest.raises(ValueError, match="read-only"):
        index.labels[0] = 1


def test_the_fingerprint_is_pinned():
    index = DatasetIndex("image_folder", ("ant", "bee"), (record("ant/1.jpg"), record("bee/1.jpg", 1)))
    assert index.fingerprint == "a18f8e6f2d09f5d2553f5db83f3b796a79de275c967208699ab4d7e222487e6a"


@pytest.mark.parametrize(
    "change",
    [
        lambda index: replace(index, images=index.images[1:]),
        lambda index: replace(index, images=(replace(index.images[0], id="other"), *index.images[1:])),
        lambda index: replace(index, images=(replace(index.images[0], sha256="1" * 64), *index.images[1:])),
        lambda index: replace(
            index, images=(replace(index.images[0], label=(index.images[0].label + 1) % 3), *index.images[1:])
        ),
        lambda index: replace(index, classes=("ant", "bee", "dog")),
    ],
    ids=["one image less", "id", "file", "label", "class name"],
)
def test_whatever_scores_depend_on_changes_the_fingerprint(change):
    index = index_of(9)
    assert change(index).fingerprint != index.fingerprint


def test_what_no_score_depends_on_leaves_the_fingerprint():
    index = index_of(9)
    resized = tuple(replace(image, width=0, height=0, size_bytes=99) for image in index.images)
    assert DatasetIndex("manifest", CLASSES, resized).fingerprint == index.fingerprint


def test_the_json_form_comes_back_equal_and_is_stable():
    index = index_of(20)
    assert DatasetIndex.from_json(index.to_json()) == index
    assert DatasetIndex.from_json(index.to_json().encode()).to_json() == index.to_json()


def test_ids_and_classes_that_are_not_ascii_or_not_utf_8_survive_json():
    strange = os.fsdecode(b"caf\xe9/\xff.jpg")
    index = DatasetIndex("image_folder", ("café", "猫"), (record(strange), record("猫/1.jpg", 1)))
    assert DatasetIndex.from_json(index.to_json()) == index
    order = sorted([strange, "猫/1.jpg"], key=lambda i: hashlib.sha256(os.fsencode(i)).digest())
    assert list(index.ids) == order


def test_fifty_thousand_images_are_written_and_read_in_seconds():
    images = tuple(record(f"n{i % 1000:08}/val_{i:08}.JPEG", i % 1000) for i in range(50_000))
    index = DatasetIndex("image_folder", tuple(f"n{i:08}" for i in range(1000)), images)
    started = time.process_time()
    again = DatasetIndex.from_json(index.to_json())
    assert again.fingerprint == index.fingerprint
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "index"),
        ("[]", "index"),
        ('{"version": 1}', "index"),
        ('{"version": 1, "format": "x", "classes": ["a"], "images": [["a/1.jpg", 0]]}', "index"),
        ('{"version": 2, "format": "x", "classes": ["a"], "images": [["i", 0, "0", 1, 1, 1]]}', "index.version"),
        ('{"version": 1, "format": "x", "classes": ["a"], "images": []}', "images"),
        ('{"version": 1, "format": "x", "classes": [], "images": [["i", 0, "0", 1, 1, 1]]}', "classes"),
        ('{"version": 1, "format": "x", "classes": ["a", "a"], "images": [["i", 0, "0", 1, 1, 1]]}', "classes"),
        ('{"version": 1, "format": "x", "classes": ["a"], "images": [["i", 1, "0", 1, 1, 1]]}', "images.label"),
        ('{"version": 1, "format": "x", "classes": ["a"], "images": [["i", -1, "0", 1, 1, 1]]}', "images.label"),
        (
            '{"version": 1, "format": "x", "classes": ["a"], "images": [["i", 0, "", 1, 1, 1], ["i", 0, "", 2, 2, 2]]}',
            "images.id",
        ),
        ('{"version": 1, "format": "x", "classes": ["a"], "images": [["\\ud800", 0, "0", 1, 1, 1]]}', "images.id"),
    ],
)
def test_json_that_is_no_index_is_refused_with_its_field(text, field):
    with pytest.raises(DatasetFormatError) as caught:
        DatasetIndex.from_json(text)
    assert caught.value.field == field


def test_a_folder_scan_reads_classes_ids_sizes_and_hashes(tmp_path):
    path = write_image(tmp_path / "bee" / "2.png", size=(7, 5))
    write_image(tmp_path / "ant" / "1.jpg")
    index = scan_image_folder(tmp_path)
    assert (index.format, index.classes) == ("image_folder", ("ant", "bee"))
    assert set(index.ids) == {"ant/1.jpg", "bee/2.png"}
    content = path.read_bytes()
    bee = next(image for image in index.images if image.id == "bee/2.png")
    assert bee == ImageRecord("bee/2.png", 1, hashlib.sha256(content).hexdigest(), 7, 5, len(content))


def test_a_scan_gives_the_same_index_wherever_the_folder_lies_and_however_it_was_filled(tmp_path):
    names = [f"{name}/{i}.png" for name in CLASSES for i in range(4)]
    for folder, order in (("first", names), ("second", names[::-1])):
        for name in order:
            write_image(tmp_path / folder / name)
    first, second = scan_image_folder(tmp_path / "first"), scan_image_folder(tmp_path / "second")
    assert first == second
    assert first.fingerprint == second.fingerprint


def test_extensions_are_recognised_in_any_case_and_other_files_are_not(tmp_path):
    for name in ("a.JPG", "b.jpeg", "c.Png", "d.webp", "e.bmp"):
        write_image(tmp_path / "ant" / name)
    for name in ("f.gif", "notes.txt", "jpg", ".hidden.jpg"):
        (tmp_path / "ant" / name).write_bytes(b"x")
    write_image(tmp_path / ".cache" / "g.jpg")
    write_image(tmp_path / "beside.jpg")
    index = scan_image_folder(tmp_path)
    assert sorted(index.ids) == ["ant/a.JPG", "ant/b.jpeg", "ant/c.Png", "ant/d.webp", "ant/e.bmp"]
    assert {(image.width, image.height) for image in index.images} == {(6, 4)}


def test_images_in_nested_folders_belong_to_the_class_above(tmp_path):
    write_image(tmp_path / "bee" / "day" / "noon" / "1.png")
    write_image(tmp_path / "ant" / "1.png")
    index = scan_image_folder(tmp_path)
    assert dict(zip(index.ids, index.labels.tolist(), strict=True)) == {"bee/day/noon/1.png": 1, "ant/1.png": 0}


def test_a_class_folder_without_images_keeps_its_class(tmp_path):
    (tmp_path / "ant").mkdir()
    write_image(tmp_path / "bee" / "1.png")
    index = scan_image_folder(tmp_path)
    assert (index.classes, index.labels.tolist()) == (("ant", "bee"), [1])


def _gif(path):
    Image.new("P", (6, 4)).save(path, format="GIF")


def _header_of_a_hundred_megapixels(path):
    Image.new("1", (10_000, 10_000)).save(path, format="PNG")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"<html>not found</html>"),
        _gif,
        _header_of_a_hundred_megapixels,
    ],
    ids=["empty", "html", "gif", "100 megapixels"],
)
def test_an_undecodable_image_is_listed_with_size_zero(tmp_path, write):
    path = tmp_path / "ant" / "1.png"
    path.parent.mkdir()
    write(path)
    (image,) = scan_image_folder(tmp_path).images
    assert (image.width, image.height) == (0, 0)
    assert image.size_bytes == path.stat().st_size


def test_progress_counts_every_image(tmp_path):
    for i in range(3):
        write_image(tmp_path / "ant" / f"{i}.png")
    calls = []
    scan_image_folder(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_folder_without_images_is_an_empty_data_set(tmp_path):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "notes.txt").write_text("x")
    with pytest.raises(EmptyDatasetError):
        scan_image_folder(tmp_path)


@pytest.mark.parametrize("name", ["absent", "file.jpg"])
def test_a_path_that_is_no_folder_is_refused(tmp_path, name):
    write_image(tmp_path / "file.jpg")
    with pytest.raises(DatasetFormatError, match="a folder of class folders"):
        scan_image_folder(tmp_path / name)


@pytest.mark.parametrize("link", ["ant/link.jpg", "ant/link", "link"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path, link):
    write_image(tmp_path / "data" / "ant" / "1.jpg")
    target = write_image(tmp_path / "secret" / "1.jpg")
    (tmp_path / "data" / link).symlink_to(target if link.endswith(".jpg") else target.parent)
    with pytest.raises(DatasetFormatError, match="stay inside the data set's folder"):
        scan_image_folder(tmp_path / "data")


def test_a_link_to_a_folder_whose_name_begins_like_the_root_is_refused(tmp_path):
    write_image(tmp_path / "data" / "ant" / "1.jpg")
    (tmp_path / "data" / "bee").symlink_to(write_image(tmp_path / "data-2" / "1.jpg").parent)
    with pytest.raises(DatasetFormatError, match="stay inside the data set's folder"):
        scan_image_folder(tmp_path / "data")


def test_links_inside_the_folder_are_followed(tmp_path):
    write_image(tmp_path / "ant" / "1.jpg")
    (tmp_path / "ant" / "2.jpg").symlink_to("1.jpg")
    (tmp_path / "bee").symlink_to("ant")
    assert set(scan_image_folder(tmp_path).ids) == {"ant/1.jpg", "ant/2.jpg", "bee/1.jpg", "bee/2.jpg"}


def test_a_root_reached_through_a_link_is_scanned(tmp_path):
    write_image(tmp_path / "data" / "ant" / "1.jpg")
    (tmp_path / "data" / "bee").symlink_to("ant")
    (tmp_path / "alias").symlink_to("data")
    assert scan_image_folder(tmp_path / "alias") == scan_image_folder(tmp_path / "data")


@pytest.mark.parametrize("target", [".", "..", "loop", "absent"])
def test_links_in_a_circle_or_to_nothing_are_refused(tmp_path, target):
    write_image(tmp_path / "ant" / "1.jpg")
    (tmp_path / "ant" / "loop").symlink_to(target)
    with pytest.raises(DatasetFormatError, match=r"^path: links that"):
        scan_image_folder(tmp_path)


def test_a_pipe_named_as_an_image_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "ant").mkdir()
    os.mkfifo(tmp_path / "ant" / "1.jpg")
    with pytest.raises(DatasetFormatError, match="regular files"):
        scan_image_folder(tmp_path)
