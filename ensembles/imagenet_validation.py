"""ImageNet's validation set as it is downloaded: 50,000 files in one folder, labelled by number in the devkit.

The devkit numbers its classes in an order of its own (ILSVRC ids 1 to 1000, kit fox first); networks number them by
sorted WordNet id (tench first). Taking one for the other leaves an accuracy near chance, so labels always go through
the WordNet ids here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ensembles.errors import DatasetFormatError, DatasetProblemsError, Problem
from ensembles.imagenet import imagenet_wnids
from ensembles.listings import ListedImage, Listing

GROUND_TRUTH_FILES = (
    "ILSVRC2012_validation_ground_truth.txt",
    "ILSVRC2014_clsloc_validation_ground_truth.txt",
    "ILSVRC2015_clsloc_validation_ground_truth.txt",
)
#: What says which ILSVRC id is which WordNet id; the text list is read first where a devkit has both.
CLASS_LISTS = ("map_clsloc.txt", "meta.mat", "meta_clsloc.mat")
DEVKIT_FOLDERS = ("ILSVRC2012_devkit_t12", "ILSVRC2014_devkit", "ILSVRC2015_devkit", "ILSVRC/devkit", "devkit")

MAX_FILE_BYTES = 50_000_000

_FILE_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")


def is_validation_image(name: str) -> bool:
    """Whether a file has the name of a validation image."""
    return _FILE_NAME.fullmatch(name) is not None


def find_devkit(root: Path) -> Path | None:
    """The folder with the devkit's lists: `root` or the folder above, a devkit in one of them, or its `data`."""
    for base in (root, root.parent):
        for folder in (base, *(base / name for name in DEVKIT_FOLDERS)):
            for candidate in (folder, folder / "data"):
                if _first_of(candidate, GROUND_TRUTH_FILES) and _first_of(candidate, CLASS_LISTS):
                    return candidate
    return None


def list_imagenet_validation(root: Path, devkit: Path) -> Listing:
    """List `root/ILSVRC2012_val_*.JPEG`, as many as there are, with labels from a devkit.

    Args:
        root: folder of the images.
        devkit: folder of the ground truth and of the list of classes, or the folder above it.

    Raises:
        DatasetFormatError: a file of the devkit is missing or breaks a rule.
        DatasetProblemsError: images beyond the end of the ground truth, or lines in it that break a rule.
        OSError: a file or folder cannot be read.
    """
    if not root.is_dir():
        raise DatasetFormatError("path", "a folder of ILSVRC2012_val_*.JPEG files", str(root))
    data = next((folder for folder in (devkit, devkit / "data") if _first_of(folder, GROUND_TRUTH_FILES)), devkit)
    truth = _ground_truth(_required(data, GROUND_TRUTH_FILES))
    label_of = _labels_of_ilsvrc_ids(_required(data, CLASS_LISTS))
    images, problems = [], []
    for name in sorted(entry.name for entry in root.iterdir() if is_validation_image(entry.name)):
        number = int(_FILE_NAME.fullmatch(name)[1])  # type: ignore[index]
        if 1 <= number <= len(truth):
            images.append(ListedImage(name, name, label_of[truth[number - 1]]))
        else:
            problems.append(Problem("path", f"images from 1 to {len(truth)}, as many as the ground truth has", name))
    if problems:
        raise DatasetProblemsError(str(root), problems)
    return Listing("imagenet_val", root, imagenet_wnids(), tuple(images))


def _first_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _required(folder: Path, names: tuple[str, ...]) -> Path:
    found = _first_of(folder, names)
    if found is None:
        raise DatasetFormatError("devkit", f"a folder with {' or '.join(names)}", str(folder))
    if found.stat().st_size > MAX_FILE_BYTES:
        raise DatasetFormatError("devkit", f"files of at most {MAX_FILE_BYTES:,} bytes", str(found))
    return found


def _ground_truth(path: Path) -> list[int]:
    """The ILSVRC id of each image; line n is of image n."""
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    rule = "an ILSVRC id from 1 to 1000"
    ids = [int(line) if re.fullmatch(r"\s*\d{1,4}\s*", line) else 0 for line in lines]
    problems = [
        Problem(f"{path.name}, line {number}", rule, line)
        for number, (line, ilsvrc_id) in enumerate(zip(lines, ids, strict=True), start=1)
        if not 1 <= ilsvrc_id <= 1000
    ]
    if problems:
        raise DatasetProblemsError(path.name, problems)
    return ids


def _labels_of_ilsvrc_ids(path: Path) -> Mapping[int, int]:
    """Class number in sorted WordNet order by ILSVRC id.

    Raises:
        DatasetFormatError: the ids 1 to 1000 are not the thousand classes, each once.
    """
    pairs = list(_mat_pairs(path) if path.suffix == ".mat" else _text_pairs(path))
    wnids = dict(pairs)
    label_of_wnid = {wnid: label for label, wnid in enumerate(imagenet_wnids())}
    if len(pairs) != 1000 or sorted(wnids) != list(range(1, 1001)) or set(wnids.values()) != set(label_of_wnid):
        rule = "the ids 1 to 1000 and the 1000 WordNet ids of ImageNet-1k, each once"
        raise DatasetFormatError(f"devkit, {path.name}", rule, f"{len(pairs)} classes, {pairs[:1]}")
    return {ilsvrc_id: label_of_wnid[wnid] for ilsvrc_id, wnid in wnids.items()}


def _text_pairs(path: Path) -> Iterator[tuple[int, str]]:
    """(ILSVRC id, WordNet id) from lines such as `n02119789 1 kit_fox`."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match = re.match(r"(n\d{8})\s+(\d{1,4})(?:\s|$)", line)
        if match is None:
            rule = "a WordNet id, an ILSVRC id and a name, as in `n02119789 1 kit_fox`"
            raise DatasetFormatError(f"devkit, {path.name}, line {number}", rule, line)
        yield int(match[2]), match[1]


def _mat_pairs(path: Path) -> Iterator[tuple[int, str]]:
    """The same from the MATLAB file; synsets above the thousand leaves have children and ids over 1000."""
    from scipy.io import loadmat  # noqa: PLC0415 - slow to import, and needed by few

    try:
        synsets: Any = loadmat(path, squeeze_me=True, variable_names=["synsets"])["synsets"]
        for row in synsets:
            if int(row["num_children"]) == 0:
                yield int(row["ILSVRC2012_ID"]), str(row["WNID"])
    except Exception as error:  # damaged files make the reader raise nearly anything
        rule = "a MATLAB file with `synsets`, their ILSVRC2012_ID, WNID and num_children"
        raise DatasetFormatError(f"devkit, {path.name}", rule, str(error)) from error
