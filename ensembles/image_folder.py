"""The image folder: one folder a class, named like it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ensembles.errors import DatasetFormatError
from ensembles.listings import ListedImage, Listing

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def list_image_folder(root: Path) -> Listing:
    """List `root/<class>/**/<image>`: every visible folder in `root` is a class, also an empty one, sorted by name.

    Images are regular files with a known extension; other files, files beside the class folders and names that begin
    with a dot are no part of the data set. Undecodable images are: they are counted apart when predicted. Links are
    followed while they stay inside `root`: one that leads out could name any file of the host.

    Raises:
        DatasetFormatError: `root` is no folder; a link leads out of it, nowhere or in a circle; an image is not a file.
        OSError: a folder cannot be read.
    """
    if not root.is_dir():
        raise DatasetFormatError("path", "a folder of class folders", str(root))
    boundary = root.resolve()
    classes = [entry.name for entry in _visible_entries(root, boundary) if entry.is_dir()]
    images = tuple(
        ListedImage(image_id, image_id, label)
        for label, name in enumerate(classes)
        for image_id in _image_ids(root, name, boundary, frozenset({boundary}))
    )
    return Listing("image_folder", root, tuple(classes), images)


def _image_ids(root: Path, folder: str, boundary: Path, ancestors: frozenset[Path]) -> Iterator[str]:
    """Ids of the images in and below `root/folder`; `ancestors` are the resolved folders on the way there."""
    real_folder = (root / folder).resolve()
    if real_folder in ancestors:
        raise DatasetFormatError("path", "links that do not lead back to a folder above them", folder)
    for entry in _visible_entries(root / folder, boundary):
        entry_id = f"{folder}/{entry.name}"
        if entry.is_dir():
            yield from _image_ids(root, entry_id, boundary, ancestors | {real_folder})
        elif entry.name.lower().endswith(IMAGE_EXTENSIONS):
            if not stat.S_ISREG(entry.stat().st_mode):
                raise DatasetFormatError("path", "images that are regular files", entry_id)
            yield entry_id


def _visible_entries(folder: Path, boundary: Path) -> list[os.DirEntry[str]]:
    """What is in `folder` and not hidden, sorted by name; refuses links that leave `boundary`."""
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        if entry.is_symlink():
            try:
                target = Path(entry.path).resolve(strict=True)
            except (OSError, RuntimeError):  # RuntimeError: a circle of links, before Python 3.13
                raise DatasetFormatError("path", "links that lead to an existing file or folder", entry.path) from None
            if not target.is_relative_to(boundary):
                raise DatasetFormatError("path", "links that stay inside the data set's folder", entry.path)
    return visible
