import os

import pytest

from ensembles.datasets import index_images, list_images, recognise_layout
from ensembles.errors import EnsemblesError
from ensembles.verification import verify_images
from tests.builders import encoded, photo, write_folder


@pytest.fixture
def folder(tmp_path):
    names = ("ant/1.jpg", "ant/2.jpg", "bee/1.jpg")
    return write_folder(tmp_path / "data", {name: encoded(photo(8, 6, i)) for i, name in enumerate(names)})


def registered(path):
    layout = recognise_layout(path)
    return index_images(list_images(layout)), layout


def test_an_untouched_data_set_is_unchanged(folder):
    index, layout = registered(folder)
    os.utime(folder / "ant" / "1.jpg", (0, 0))
    found = verify_images(index, list_images(layout))
    assert found.unchanged
    assert found.images == 3


def test_changed_missing_and_new_files_are_found_with_their_hashes(folder):
    index, layout = registered(folder)
    before = {image.id: image.sha256 for image in index.images}
    (folder / "ant" / "1.jpg").write_bytes(encoded(photo(8, 6, 9)))
    (folder / "ant" / "2.jpg").unlink()
    (folder / "cat").mkdir()
    (folder / "cat" / "1.jpg").write_bytes(encoded(photo(8, 6, 7)))
    now = {image.id: image.sha256 for image in registered(folder)[0].images}
    found = verify_images(index, list_images(layout))
    assert not found.unchanged
    assert [(d.id, d.registered_sha256, d.found_sha256) for d in found.changed] == [
        ("ant/1.jpg", before["ant/1.jpg"], now["ant/1.jpg"])
    ]
    assert [(d.id, d.registered_sha256, d.found_sha256) for d in found.missing] == [
        ("ant/2.jpg", before["ant/2.jpg"], None)
    ]
    assert [(d.id, d.registered_sha256, d.found_sha256) for d in found.new] == [("cat/1.jpg", None, now["cat/1.jpg"])]
    assert found.relabelled == ()


def test_one_flipped_bit_is_a_change(folder):
    index, layout = registered(folder)
    data = bytearray((folder / "bee" / "1.jpg").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "bee" / "1.jpg").write_bytes(data)
    assert [d.id for d in verify_images(index, list_images(layout)).changed] == ["bee/1.jpg"]


def test_a_new_class_folder_relabels_nothing(folder):
    index, layout = registered(folder)
    (folder / "aardvark").mkdir()
    assert verify_images(index, list_images(layout)).unchanged


def test_an_emptied_data_set_misses_every_file(folder):
    index, layout = registered(folder)
    for name in index.ids:
        (folder / name).unlink()
    found = verify_images(index, list_images(layout))
    assert [d.id for d in found.missing] == sorted(index.ids)


def test_another_label_in_a_manifest_is_found_by_class_name(folder):
    manifest = folder / "images.csv"
    manifest.write_text("ant/1.jpg,ant,a\nant/2.jpg,ant,b\nbee/1.jpg,bee,c\n")
    index, layout = registered(manifest)
    manifest.write_text("ant/1.jpg,ant,a\nant/2.jpg,bee,b\nbee/1.jpg,aardvark,c\n")
    found = verify_images(index, list_images(layout))
    assert [(d.id, d.registered_class, d.found_class) for d in found.relabelled] == [
        ("b", "ant", "bee"),
        ("c", "bee", "aardvark"),
    ]
    assert (found.changed, found.missing, found.new) == ((), (), ())


def test_a_file_that_cannot_be_read_is_missing_with_the_reason(folder):
    manifest = folder / "images.csv"
    manifest.write_text("ant/1.jpg,ant\nant/2.jpg,ant\n")
    index, layout = registered(manifest)
    (folder / "ant" / "1.jpg").unlink()
    (folder / "ant" / "2.jpg").unlink()
    (folder / "ant" / "2.jpg").mkdir()
    found = verify_images(index, list_images(layout))
    assert [d.id for d in found.missing] == ["ant/1.jpg", "ant/2.jpg"]
    assert "No such file" in found.missing[0].reason
    assert "regular files" in found.missing[1].reason


def test_a_data_set_whose_folder_is_gone_is_an_error_and_not_a_list_of_files(folder):
    _, layout = registered(folder)
    folder.rename(folder.with_name("moved"))
    with pytest.raises(EnsemblesError):
        list_images(layout)


def test_progress_counts_every_image_registered_or_listed(folder):
    index, layout = registered(folder)
    (folder / "ant" / "1.jpg").rename(folder / "ant" / "3.jpg")
    calls = []
    verify_images(index, list_images(layout), lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
