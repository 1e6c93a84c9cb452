"""Where training and validation images come from: a folder, a manifest, or a data set that is registered here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from app.config import Settings
from app.db.models import Dataset, RegistrationState
from app.db.queries.lookup import find
from app.errors import NotReadyError
from app.runtime import build_runtime
from app.services.datasets import load_index, root_of
from ensembles.datasets import index_images, list_images, recognise_layout
from ensembles.errors import Problem, SpecError
from ensembles.images import image_files
from workers.image_data import DatasetImages


def open_dataset(
    name_or_path: str, field: str = "dataset", progress: Callable[[int, int], None] | None = None
) -> DatasetImages:
    """What lies at a path, read and hashed now; where nothing lies there, the registered data set of that name or id.

    Args:
        name_or_path: of a folder or manifest, or of a data set in the local database.
        field: what errors call it.
        progress: called with (images read, images in all) while a folder or manifest is read.

    Raises:
        SpecError: a path at which nothing lies, or SOFTVOTE_URL names a server, whose files may lie elsewhere.
        DatasetFormatError, EmptyDatasetError: what is wrong with the folder or manifest.
        NotFoundError, NotReadyError: no such data set, or none that can be used.
        ArtifactDamagedError: the stored index of the registered data set is missing or different.
    """
    if Path(name_or_path).exists():
        return scan(Path(name_or_path), progress)
    if os.sep in name_or_path:
        rule = "the path of a folder or manifest, or the name of a registered data set"
        raise SpecError([Problem(field, rule, name_or_path)])
    settings = Settings.from_environment()
    if settings.url:
        rule = "a path while SOFTVOTE_URL is set: a server's data sets may lie on another machine"
        raise SpecError([Problem(field, rule, name_or_path)])
    return _registered(settings, name_or_path)


def scan(path: Path, progress: Callable[[int, int], None] | None = None) -> DatasetImages:
    """Index an image folder, a manifest or ImageNet's validation set.

    Raises:
        DatasetFormatError, EmptyDatasetError: what is wrong with it.
    """
    layout = recognise_layout(path)
    index = index_images(list_images(layout), progress)
    return DatasetImages(layout.root, index, image_files(layout.root, index))


def _registered(settings: Settings, key: str) -> DatasetImages:
    runtime = build_runtime(settings, migrate=True)
    try:
        with runtime.db.read() as session:
            row = find(session, Dataset, key)
        if row.state != RegistrationState.READY:
            raise NotReadyError("data set", row.name, row.state)
        root, index = root_of(row), load_index(runtime.artifacts, row)
    finally:
        runtime.db.dispose()
    return DatasetImages(root, index, image_files(root, index))
