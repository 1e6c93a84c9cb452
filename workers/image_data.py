"""The images of a data set as a worker opens them: by index, below the root, with the content that was registered."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from app.artifacts import ArtifactStore
from ensembles.datasets import DatasetIndex
from ensembles.errors import DatasetChangedError
from ensembles.images import ImageFile, image_files


@dataclass(frozen=True)
class DatasetImages:
    """A data set's index with its files in canonical order."""

    root: Path
    index: DatasetIndex
    files: tuple[ImageFile, ...]

    def check_range(self, start: int, stop: int) -> None:
        """Refuse files that lie outside the root by now: a link may have changed since they were registered.

        Raises:
            DatasetChangedError: a link leads out of the root.
        """
        root = self.root.resolve()
        for image, record in zip(self.files[start:stop], self.index.images[start:stop], strict=True):
            if not image.path.resolve().is_relative_to(root):
                raise DatasetChangedError(image.id, record.sha256, "a link that leads out of the data set's folder")


class ImageCache:
    """The data sets used last; an index of 50,000 images takes a good second to read."""

    def __init__(self, artifacts: ArtifactStore, max_datasets: int = 4) -> None:
        self._artifacts, self._max_datasets = artifacts, max_datasets
        self._datasets: OrderedDict[tuple[str, str], DatasetImages] = OrderedDict()

    def get(self, root: str, index_key: str, index_sha256: str) -> DatasetImages:
        """The data set below `root`.

        Raises:
            ArtifactDamagedError: the stored index is not what was stored.
        """
        key = (root, index_sha256)
        found = self._datasets.get(key)
        if found is None:
            index = DatasetIndex.from_json(self._artifacts.verified(index_key, index_sha256).read_bytes())
            found = self._datasets[key] = DatasetImages(Path(root), index, image_files(Path(root), index))
            while len(self._datasets) > self._max_datasets:
                self._datasets.popitem(last=False)
        self._datasets.move_to_end(key)
        return found
