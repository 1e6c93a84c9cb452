"""Cases F40, F44 and F45: data sets with nothing in them, strange names, and entries that are no images."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ensembles.datasets import (
    DatasetIndex,
    canonical_rank,
    index_images,
    list_images,
    printable_id,
    recognise_layout,
    scan_image_folder,
)
from ensembles.errors import DatasetChangedError, DatasetFormatError, DatasetProblemsError, EmptyDatasetError
from ensembles.images import image_files, resized_copies
from ensembles.specs import ViewSpec
from tests.builders import encoded, photo, write_folder
from tests.odd_names import STRANGE_NAMES

IMAGE = encoded(photo(8, 6))


def register(path: Path) -> DatasetIndex:
    return index_images(list_images(recognise_layout(path)))


def test_f40_a_data_set_without_classes_or_images_is_empty(tmp_path: Path) -> None:
    with pytest.raises(EmptyDatasetError):
        register(tmp_path)
    (tmp_path / "ant").mkdir()
    (tmp_path / "beside.jpg").write_bytes(IMAGE)
    with pytest.raises(EmptyDatasetError):
        register(tmp_path)
    (tmp_path / "nothing.csv").write_text("path,label\n")
    with pytest.raises(EmptyDatasetError):
        register(tmp_path / "nothing.csv")


def test_f40_one_image_of_one_class_is_a_data_set(tmp_path: Path) -> None:
    index = register(write_folder(tmp_path, {"ant/1.jpg": IMAGE}))
    assert (index.classes, index.labels.tolist()) == (("ant",), [0])


def test_f40_an_empty_class_folder_is_a_class_without_images(tmp_path: Path) -> None:
    write_folder(tmp_path, {"bee/1.jpg": IMAGE})
    (tmp_path / "ant").mkdir()
    index = register(tmp_path)
    assert (index.classes, index.labels.tolist()) == (("ant", "bee"), [1])


@pytest.mark.parametrize(
    ("classes", "rows", "fields"),
    [
        ("ant\n\nbee\n", "ant/1.jpg,ant\n", ["names.txt, line 2"]),
        ("ant\nbee\nant\n", "ant/1.jpg,ant\n", ["names.txt, line 3"]),
        (
            "ant\nbee\n",
            "ant/1.jpg,wasp\nant/1.jpg,\n",
            ["line 2, column label", "line 3, column path", "line 3, column label"],
        ),
    ],
    ids=["missing name", "duplicate name", "unknown names"],
)
def test_f40_faulty_labels_are_named_by_their_lines(tmp_path: Path, classes: str, rows: str, fields: list[str]) -> None:
    write_folder(tmp_path, {"ant/1.jpg": IMAGE, "names.txt": classes.encode()})
    (tmp_path / "images.csv").write_text(f"# classes: names.txt\n{rows}")
    with pytest.raises(DatasetProblemsError) as caught:
        register(tmp_path / "images.csv")
    assert [problem.field for problem in caught.value.problems] == fields


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A class folder of images with strange names, each of another content."""
    return write_folder(
        tmp_path / "data", {f"ant/{name}": encoded(photo(8, 6, n)) for n, name in enumerate(STRANGE_NAMES.values())}
    )


def test_f44_strange_names_are_ids_as_they_are(strange: Path) -> None:
    index = register(strange)
    assert set(index.ids) == {f"ant/{name}" for name in STRANGE_NAMES.values()}
    assert len({image.sha256 for image in index.images}) == len(STRANGE_NAMES)
    assert list(index.ids) == sorted(index.ids, key=canonical_rank)
    assert DatasetIndex.from_json(index.to_json()) == index


def test_f44_letters_composed_and_decomposed_are_two_images(strange: Path) -> None:
    index = register(strange)
    twins = [image for image in index.images if unicodedata.normalize("NFC", image.id) == "ant/é.jpg"]
    assert len(twins) == 2
    assert twins[0].sha256 != twins[1].sha256


def test_f44_every_strange_name_can_be_shown_and_opened(strange: Path) -> None:
    index = register(strange)
    for file in image_files(strange, index):
        printable_id(file.id).encode("utf-8")
        (copy,) = resized_copies(file, [ViewSpec("dense", 32)]).values()
        assert not isinstance(copy, Exception)
    assert printable_id(f"ant/{STRANGE_NAMES['not UTF-8']}") == r"ant/caf\xe9\xff.jpg"
    assert printable_id("ant/🐜.jpg") == "ant/🐜.jpg"


def test_f44_every_strange_name_can_stand_in_a_manifest(strange: Path) -> None:
    quoted = "".join('"' + f"ant/{name}".replace('"', '""') + '",ant\n' for name in STRANGE_NAMES.values())
    (strange / "images.csv").write_bytes(os.fsencode(f"path,label\n{quoted}"))
    assert register(strange / "images.csv").fingerprint == register(strange).fingerprint


def test_f44_a_class_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {os.fsdecode(b"caf\xe9/1.jpg"): IMAGE})
    with pytest.raises(DatasetFormatError, match="UTF-8 text"):
        register(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", {"ant/1.jpg": IMAGE, "bee/1.jpg": encoded(photo(8, 6, 1))})


def outside(path: Path) -> None:
    secret = path.parents[2] / "secret.jpg"
    secret.write_bytes(IMAGE)
    path.symlink_to(secret)


def a_socket(path: Path) -> None:
    # The name that a socket is bound to may have 107 bytes; a test's folder is longer.
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/s")
        os.link(f"{short}/s", path)


def a_device(path: Path) -> None:
    try:
        os.mknod(path, 0o20644, os.makedev(1, 5))
        path.open("rb").close()
    except PermissionError:
        pytest.skip("making a device needs more rights than these tests have")


ENTRIES: dict[str, Callable[[Path], None]] = {
    "link out of the root": outside,
    "link in a circle": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("absent.jpg"),
    "FIFO": os.mkfifo,
    "socket": a_socket,
    "device": a_device,
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_f45_what_is_no_image_is_refused_when_it_is_registered(data: Path, entry: str) -> None:
    ENTRIES[entry](data / "ant" / "odd.jpg")
    with pytest.raises(DatasetFormatError) as caught:
        register(data)
    assert (caught.value.code, caught.value.field) == ("dataset_format", "path")
    assert "odd.jpg" in str(caught.value)


@pytest.mark.parametrize("entry", [*ENTRIES, "folder"])
def test_f45_what_is_no_image_is_refused_in_a_manifest_by_its_line(data: Path, entry: str) -> None:
    {**ENTRIES, "folder": Path.mkdir}[entry](data / "ant" / "odd.jpg")
    (data / "images.csv").write_text("ant/1.jpg,ant\nant/odd.jpg,ant\n")
    with pytest.raises(DatasetProblemsError) as caught:
        register(data / "images.csv")
    assert [(p.field, p.value) for p in caught.value.problems] == [("line 2, column path", "ant/odd.jpg")]


@pytest.mark.parametrize("entry", [*(e for e in ENTRIES if e != "link out of the root"), "folder", "nothing"])
def test_f45_a_registered_image_that_became_something_else_is_changed_and_never_waited_for(
    data: Path, entry: str
) -> None:
    index = register(data)
    (data / "ant" / "1.jpg").unlink()
    {**ENTRIES, "folder": Path.mkdir, "nothing": lambda _: None}[entry](data / "ant" / "1.jpg")
    file = next(file for file in image_files(data, index) if file.id == "ant/1.jpg")
    with pytest.raises(DatasetChangedError):
        resized_copies(file, [ViewSpec("dense", 32)])


def test_f45_a_folder_called_like_an_image_is_a_folder(data: Path) -> None:
    write_folder(data, {"ant/folder.jpg/2.jpg": IMAGE})
    assert "ant/folder.jpg/2.jpg" in register(data).ids


def test_f45_links_that_stay_inside_and_hard_links_are_followed(data: Path) -> None:
    (data / "ant" / "link.jpg").symlink_to("../bee/1.jpg")
    os.link(data / "bee" / "1.jpg", data / "ant" / "hard.jpg")
    hashes = {image.id: image.sha256 for image in register(data).images}
    assert hashes["ant/link.jpg"] == hashes["ant/hard.jpg"] == hashes["bee/1.jpg"] != hashes["ant/1.jpg"]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that another user may enter, while this process is that user: root reads every file."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_f45_a_file_that_may_not_be_read_is_named(unprivileged: Path) -> None:
    is_root = os.getuid() == 0
    if is_root:
        os.seteuid(0)
    data = write_folder(unprivileged / "data", {"ant/1.jpg": IMAGE, "bee/1.jpg": encoded(photo(8, 6, 1))})
    index = register(data)
    (data / "ant" / "1.jpg").chmod(0)
    if is_root:
        os.seteuid(65534)
    with pytest.raises(DatasetProblemsError, match=r"ant/1\.jpg") as caught:
        register(data)
    assert "Permission denied" in str(caught.value)
    file = next(file for file in image_files(data, index) if file.id == "ant/1.jpg")
    with pytest.raises(DatasetChangedError, match="Permission denied"):
        resized_copies(file, [ViewSpec("dense", 32)])


def test_f45_a_file_deleted_after_it_was_listed_is_named(data: Path) -> None:
    listing = list_images(recognise_layout(data))
    (data / "ant" / "1.jpg").unlink()
    with pytest.raises(DatasetProblemsError, match=r"No such file or directory.*ant/1\.jpg"):
        index_images(listing)


@pytest.mark.parametrize("change", [lambda data: data + b"more", lambda data: data[:-1], lambda data: b""])
def test_f45_a_file_that_grew_or_shrank_since_is_changed(data: Path, change: Callable[[bytes], bytes]) -> None:
    index = register(data)
    (data / "ant" / "1.jpg").write_bytes(change(IMAGE))
    file = next(file for file in image_files(data, index) if file.id == "ant/1.jpg")
    with pytest.raises(DatasetChangedError):
        resized_copies(file, [ViewSpec("dense", 32)])


def test_f45_a_folder_that_leads_back_to_itself_is_refused(data: Path) -> None:
    (data / "ant" / "loop").symlink_to("..")
    with pytest.raises(DatasetFormatError, match="lead back"):
        scan_image_folder(data)
