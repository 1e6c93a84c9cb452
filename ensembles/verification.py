"""Whether a data set still is what was registered: changed, missing, new and relabelled images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ensembles.dataset_index import DatasetIndex
from ensembles.listings import FileRefusedError, Listing, open_listed


@dataclass(frozen=True)
class FileDifference:
    """One file that is not as registered.

    Attributes:
        id: of the image.
        registered_sha256: of the file when it was registered; None for a new one.
        found_sha256: of the file now; None where it cannot be read.
        reason: why it cannot be read.
    """

    id: str
    registered_sha256: str | None
    found_sha256: str | None
    reason: str | None = None


@dataclass(frozen=True)
class LabelDifference:
    """One image that stands under another class now; both by name."""

    id: str
    registered_class: str
    found_class: str


@dataclass(frozen=True)
class Verification:
    """What differs between a data set's index and its files; ids ascend by their text.

    Attributes:
        images: registered.
        changed: other content under the same id.
        missing: registered and no longer listed, or listed and not to be read.
        new: listed and not registered.
        relabelled: registered under another class.
    """

    images: int
    changed: tuple[FileDifference, ...]
    missing: tuple[FileDifference, ...]
    new: tuple[FileDifference, ...]
    relabelled: tuple[LabelDifference, ...]

    @property
    def unchanged(self) -> bool:
        """Whether a new registration would give the same fingerprint."""
        return not (self.changed or self.missing or self.new or self.relabelled)


def verify_images(
    index: DatasetIndex, listing: Listing, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Read every file of a data set again and compare it with its index.

    Args:
        index: as registered.
        listing: of the same data set as it is now.
        progress: called with (images done, images in all) after each image.

    Raises:
        OSError: the machine failed, not a file.
    """
    registered = {image.id: image for image in index.images}
    listed = {image.id: image for image in listing.images}
    boundary = listing.root.resolve()
    differences: dict[str, list[FileDifference]] = {"changed": [], "missing": [], "new": []}
    relabelled = []
    ids = sorted({*registered, *listed})
    for done, image_id in enumerate(ids, start=1):
        before, now = registered.get(image_id), listed.get(image_id)
        found, reason = (None, None) if now is None else _hash(listing.root, boundary, now.path)
        if before is None:
            differences["new"].append(FileDifference(image_id, None, found, reason))
        elif found != before.sha256:
            kind = "missing" if found is None else "changed"
            differences[kind].append(FileDifference(image_id, before.sha256, found, reason))
        if before is not None and now is not None:
            was, is_now = index.classes[before.label], listing.classes[now.label]
            if was != is_now:
                relabelled.append(LabelDifference(image_id, was, is_now))
        if progress is not None:
            progress(done, len(ids))
    files = {kind: tuple(found) for kind, found in differences.items()}
    return Verification(len(index.images), **files, relabelled=tuple(relabelled))


def _hash(root: Path, boundary: Path, path: str) -> tuple[str | None, str | None]:
    """(sha256, None), or (None, why the file cannot be read)."""
    try:
        with open_listed(root, boundary, path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), None
    except FileRefusedError as error:
        return None, error.rule
