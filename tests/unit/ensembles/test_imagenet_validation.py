"""The raw layout of ImageNet's validation set, with a devkit whose classes are numbered in an order of its own."""

import hashlib
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from ensembles.datasets import index_images, list_images, recognise_layout
from ensembles.errors import DatasetFormatError, DatasetProblemsError, EmptyDatasetError
from ensembles.imagenet import imagenet_classes, imagenet_wnids
from ensembles.imagenet_validation import list_imagenet_validation
from tests.builders import encoded, photo, write_folder

TRUTH = (490, 361, 171, 822, 297)
NAMES = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 6)]


@pytest.fixture
def devkit_order():
    """WordNet id of ILSVRC id i + 1: no class keeps its place by chance."""
    wnids = list(imagenet_wnids())
    np.random.default_rng(3).shuffle(wnids)
    return wnids


@pytest.fixture
def images(tmp_path):
    return write_folder(tmp_path / "val", {name: encoded(photo(9, 7, i)) for i, name in enumerate(NAMES)})


def write_text_devkit(folder, order, truth=TRUTH):
    (folder / "data").mkdir(parents=True)
    lines = "".join(f"{wnid} {number} some_name\n" for number, wnid in enumerate(order, start=1))
    (folder / "data" / "map_clsloc.txt").write_text(lines)
    (folder / "data" / "ILSVRC2015_clsloc_validation_ground_truth.txt").write_text("".join(f"{i}\n" for i in truth))
    return folder


def write_matlab_devkit(folder, order, truth=TRUTH):
    """As devkit_t12: leaves first, then the synsets above them."""
    (folder / "data").mkdir(parents=True)
    words = {each.wnid: each.lemmas for each in imagenet_classes()}
    rows = [(i, wnid, words[wnid], "gloss", 0, [], 0, 1300) for i, wnid in enumerate(order, start=1)]
    rows += [(1001, "n01861778", "mammal, mammalian", "gloss", 2, [1, 2], 4, 0)]
    fields = [
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    ]
    synsets = np.array([tuple(row) for row in rows], dtype=[(name, object) for name in fields])
    savemat(folder / "data" / "meta.mat", {"synsets": synsets.reshape(-1, 1)})
    (folder / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, truth)))
    return folder


@pytest.mark.parametrize("write_devkit", [write_text_devkit, write_matlab_devkit])
def test_labels_go_from_the_devkit_s_order_to_that_of_sorted_wordnet_ids(tmp_path, images, devkit_order, write_devkit):
    listing = list_imagenet_validation(images, write_devkit(tmp_path / "devkit", devkit_order))
    assert listing.classes == imagenet_wnids()
    found = {image.id: listing.classes[image.label] for image in listing.images}
    assert found == {name: devkit_order[ilsvrc_id - 1] for name, ilsvrc_id in zip(NAMES, TRUTH, strict=True)}
    assert [image.label for image in listing.images] != [ilsvrc_id - 1 for ilsvrc_id in TRUTH]


def test_labels_are_those_that_torchvision_reads_from_the_same_devkit(tmp_path, images, devkit_order, monkeypatch):
    imagenet = pytest.importorskip("torchvision.datasets.imagenet")
    devkit = write_matlab_devkit(tmp_path / "ILSVRC2012_devkit_t12", devkit_order)
    with tarfile.open(tmp_path / "devkit.tar.gz", "w:gz") as archive:
        archive.add(devkit, devkit.name)
    checksum = hashlib.md5((tmp_path / "devkit.tar.gz").read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(imagenet.ARCHIVE_META, "devkit", ("devkit.tar.gz", checksum))
    imagenet.parse_devkit_archive(tmp_path)
    _, theirs = imagenet.load_meta_file(tmp_path)
    listing = list_imagenet_validation(images, devkit)
    assert [listing.classes[image.label] for image in listing.images] == theirs


def test_a_devkit_beside_the_images_is_found(tmp_path, images, devkit_order):
    devkit = write_text_devkit(tmp_path / "ILSVRC2015_devkit", devkit_order)
    layout = recognise_layout(images)
    assert (layout.format, layout.root, layout.labels) == ("imagenet_val", images, devkit / "data")
    index = index_images(list_images(layout))
    assert (index.format, len(index.images), len(index.classes)) == ("imagenet_val", 5, 1000)


def test_a_devkit_is_named_by_its_folder_or_by_the_data_in_it(tmp_path, images, devkit_order):
    devkit = write_text_devkit(tmp_path / "elsewhere" / "kit", devkit_order)
    assert list_imagenet_validation(images, devkit) == list_imagenet_validation(images, devkit / "data")


def test_without_a_devkit_nothing_is_guessed(images):
    with pytest.raises(DatasetFormatError, match=r"^devkit: "):
        recognise_layout(images)
    with pytest.raises(DatasetFormatError, match=r"^devkit: .*ground_truth"):
        list_imagenet_validation(images, images)


def test_part_of_the_images_keep_their_labels(tmp_path, images, devkit_order):
    devkit = write_text_devkit(tmp_path / "devkit", devkit_order)
    (images / NAMES[0]).unlink()
    (images / "notes.txt").write_text("x")
    (images / "ILSVRC2012_test_00000001.JPEG").write_bytes(b"x")
    listing = list_imagenet_validation(images, devkit)
    assert [(image.id, listing.classes[image.label]) for image in listing.images] == [
        (name, devkit_order[i - 1]) for name, i in zip(NAMES[1:], TRUTH[1:], strict=True)
    ]


def test_a_folder_without_validation_images_is_empty(tmp_path, devkit_order):
    devkit = write_text_devkit(tmp_path / "devkit", devkit_order)
    with pytest.raises(EmptyDatasetError):
        index_images(list_imagenet_validation(devkit, devkit))


@pytest.mark.parametrize("name", ["ILSVRC2012_val_00000006.JPEG", "ILSVRC2012_val_00000000.JPEG"])
def test_an_image_without_a_ground_truth_is_named(tmp_path, images, devkit_order, name):
    (images / name).write_bytes(b"x")
    with pytest.raises(DatasetProblemsError, match=f"from 1 to 5.*{name}"):
        list_imagenet_validation(images, write_text_devkit(tmp_path / "devkit", devkit_order))


@pytest.mark.parametrize("line", ["0", "1001", "kit_fox", "", "-1"])
def test_a_ground_truth_that_is_no_ilsvrc_id_is_named_by_its_line(tmp_path, images, devkit_order, line):
    devkit = write_text_devkit(tmp_path / "devkit", devkit_order, truth=(1, line, 3, 4, 5))
    with pytest.raises(DatasetProblemsError, match=r"ground_truth\.txt, line 2: an ILSVRC id from 1 to 1000"):
        list_imagenet_validation(images, devkit)


@pytest.mark.parametrize(
    "change",
    [
        lambda order: order[:-1],
        lambda order: [*order[:-1], "n00000000"],
        lambda order: [*order[:-1], order[0]],
        lambda order: [*order, order[0]],
    ],
    ids=["one less", "another class", "one twice", "one more"],
)
@pytest.mark.parametrize("write_devkit", [write_text_devkit])
def test_a_class_list_that_is_no_bijection_is_refused(tmp_path, images, devkit_order, change, write_devkit):
    with pytest.raises(DatasetFormatError, match="each once"):
        list_imagenet_validation(images, write_devkit(tmp_path / "devkit", change(devkit_order)))


@pytest.mark.parametrize("content", [b"", b"not MATLAB", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_a_damaged_matlab_file_is_named(tmp_path, images, devkit_order, content):
    devkit = write_matlab_devkit(tmp_path / "devkit", devkit_order)
    (devkit / "data" / "meta.mat").write_bytes(content)
    with pytest.raises(DatasetFormatError, match=r"meta\.mat: a MATLAB file"):
        list_imagenet_validation(images, devkit)


def test_a_line_of_the_class_list_that_cannot_be_read_is_named(tmp_path, images, devkit_order):
    devkit = write_text_devkit(tmp_path / "devkit", devkit_order)
    text = (devkit / "data" / "map_clsloc.txt").read_text().splitlines()
    (devkit / "data" / "map_clsloc.txt").write_text("\n".join([*text[:3], "kit_fox", *text[4:]]))
    with pytest.raises(DatasetFormatError, match=r"map_clsloc\.txt, line 4: "):
        list_imagenet_validation(images, devkit)
