"""Images of a data set, as a worker opens them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.artifacts import ArtifactStore, StoredArtifact
from app.errors import ArtifactDamagedError
from ensembles.datasets import scan_image_folder
from ensembles.errors import DatasetChangedError
from tests.builders import mixed_images, write_folder
from workers.image_data import ImageCache


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures", mixed_images(6, [(20, 24)]))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def stored_index(store: ArtifactStore, root: Path) -> StoredArtifact:
    return store.put("datasets/1.json", scan_image_folder(root).to_json().encode())


def test_files_come_in_canonical_order_with_their_registered_hash(root: Path, store: ArtifactStore) -> None:
    stored = stored_index(store, root)
    images = ImageCache(store).get(str(root), stored.key, stored.sha256)
    index = scan_image_folder(root)
    assert [file.id for file in images.files] == list(index.ids)
    assert [file.sha256 for file in images.files] == [record.sha256 for record in index.images]
    assert all(file.path.is_file() for file in images.files)


def test_an_index_is_read_once(root: Path, store: ArtifactStore) -> None:
    stored = stored_index(store, root)
    images = ImageCache(store)
    first = images.get(str(root), stored.key, stored.sha256)
    store.delete(stored.key)
    assert images.get(str(root), stored.key, stored.sha256) is first


def test_a_damaged_index_is_refused(root: Path, store: ArtifactStore) -> None:
    stored = stored_index(store, root)
    store.path(stored.key).write_text("{}")
    with pytest.raises(ArtifactDamagedError):
        ImageCache(store).get(str(root), stored.key, stored.sha256)


def test_a_link_that_leads_out_of_the_root_by_now_is_refused(root: Path, store: ArtifactStore, tmp_path: Path) -> None:
    stored = stored_index(store, root)
    images = ImageCache(store).get(str(root), stored.key, stored.sha256)
    images.check_range(0, 6)
    moved = tmp_path / "elsewhere.jpg"
    images.files[3].path.rename(moved)
    images.files[3].path.symlink_to(moved)
    images.check_range(0, 3)
    with pytest.raises(DatasetChangedError, match="out of the data set's folder"):
        images.check_range(2, 5)
