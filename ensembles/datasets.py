"""Data sets: their formats, and the way from a path to an index. The index itself is in `dataset_index`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ensembles.dataset_index import DatasetIndex, ImageRecord, canonical_rank, printable_id
from ensembles.errors import DatasetFormatError
from ensembles.image_folder import IMAGE_EXTENSIONS, list_image_folder
from ensembles.imagenet_validation import find_devkit, is_validation_image, list_imagenet_validation
from ensembles.listings import IMAGE_FORMATS, MAX_IMAGE_PIXELS, ListedImage, Listing, index_images
from ensembles.manifest import list_manifest

__all__ = [
    "FORMATS",
    "IMAGE_EXTENSIONS",
    "IMAGE_FORMATS",
    "MAX_IMAGE_PIXELS",
    "DatasetIndex",
    "DatasetLayout",
    "ImageRecord",
    "ListedImage",
    "Listing",
    "canonical_rank",
    "index_images",
    "list_images",
    "printable_id",
    "recognise_layout",
    "scan_image_folder",
]

FORMATS = ("image_folder", "manifest", "imagenet_val")


@dataclass(frozen=True)
class DatasetLayout:
    """Where a data set lies.

    Attributes:
        format: one of FORMATS.
        root: folder that the paths of its images lie under.
        labels: the manifest, or the folder of ImageNet's devkit; None where the folders' names are the labels.
    """

    format: str
    root: Path
    labels: Path | None = None


def recognise_layout(path: Path, dataset_format: str | None = None, devkit: Path | None = None) -> DatasetLayout:
    """What kind of data set lies at `path`; only names are looked at.

    Args:
        path: a `.csv` file, or a folder.
        dataset_format: one of FORMATS; None tells by the path.
        devkit: folder of ImageNet's devkit; None looks for one beside the images.

    Raises:
        DatasetFormatError: the path is not of that format, or the devkit is missing or out of place.
        OSError: the folder cannot be read.
    """
    if dataset_format not in (None, *FORMATS):
        raise DatasetFormatError("format", f"one of {', '.join(FORMATS)}", dataset_format)
    found = dataset_format or _format_of(path)
    if devkit is not None and found != "imagenet_val":
        raise DatasetFormatError("devkit", "none beside the format imagenet_val", str(devkit))
    if found == "manifest":
        if path.suffix.lower() != ".csv" or not path.is_file():
            raise DatasetFormatError("path", "a manifest is a file whose name ends in .csv", str(path))
        return DatasetLayout(found, path.parent, path)
    if not path.is_dir():
        raise DatasetFormatError("path", f"a data set of the format {found} is a folder", str(path))
    if found == "image_folder":
        return DatasetLayout(found, path)
    labels = devkit or find_devkit(path)
    if labels is None:
        rule = "the folder of ImageNet's devkit, since none lies in the images' folder or the one above"
        raise DatasetFormatError("devkit", rule, None)
    return DatasetLayout(found, path, labels)


def list_images(layout: DatasetLayout) -> Listing:
    """What the data set claims to hold.

    Raises:
        DatasetFormatError: the layout breaks a rule of its format.
        OSError: a file or folder cannot be read.
    """
    if layout.format == "image_folder":
        return list_image_folder(layout.root)
    if layout.labels is None:
        raise DatasetFormatError("labels", f"what labels the images of the format {layout.format}", None)
    if layout.format == "manifest":
        return list_manifest(layout.labels)
    return list_imagenet_validation(layout.root, layout.labels)


def scan_image_folder(root: Path, progress: Callable[[int, int], None] | None = None) -> DatasetIndex:
    """Index an image folder; see `list_image_folder` and `index_images`."""
    return index_images(list_image_folder(root), progress)


def _format_of(path: Path) -> str:
    if not path.is_dir():
        return "manifest"
    with os.scandir(path) as entries:
        return "imagenet_val" if any(is_validation_image(entry.name) for entry in entries) else "image_folder"
