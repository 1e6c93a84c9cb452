"""Data sets: registered at once, described when a worker has read every image."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from app.artifacts import ArtifactStore
from app.config import Settings
from app.db.models import Dataset, RegistrationState, WorkItem
from app.db.queries.lookup import find
from app.db.session import Database
from app.errors import InvalidRequestError, NotReadyError, PathForbiddenError
from app.representations.catalogue import VerificationDocument
from app.representations.requests import DatasetRequest
from app.services import idempotency, registration
from app.services.artifact_keys import dataset_key
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from app.services.paths import allowed_path
from ensembles.datasets import DatasetIndex, DatasetLayout, list_images, recognise_layout
from ensembles.errors import DatasetFormatError, Problem
from ensembles.verification import Verification, verify_images

#: The canonical order is a shuffle, so the first images are a fair sample of the sizes.
_SAMPLE = 256


def request_registration(
    db: Database,
    settings: Settings,
    request: DatasetRequest,
    *,
    trusted: bool = False,
    idempotency_key: str | None = None,
) -> str:
    """Add a data set in state `registering`, for a worker to read; its id.

    The item's payload is the layout: `format`, `root` and `labels` (a path, or null).

    Args:
        db: the database.
        settings: names the folders that the paths must lie under.
        request: path, name, format and devkit.
        trusted: the operator's own command line, which may name any path.
        idempotency_key: the same key with the same request gets the same id.

    Raises:
        PathForbiddenError: a path is not allowed.
        NameTakenError: another data set has the name.
        InvalidRequestError: no data set of the format lies there, or a trusted path does not exist.
        IdempotencyConflictError: the key came before with another request.
    """
    with db.read() as session:
        if known := idempotency.earlier(session, "data set", idempotency_key, request):
            return known
    allowed = partial(allowed_path, roots=settings.data_roots, setting="SOFTVOTE_DATA_ROOTS", trusted=trusted)
    path = allowed(request.path, folder=None)
    devkit = None if request.devkit is None else allowed(request.devkit, folder=True, field="devkit")
    try:
        layout = recognise_layout(path, request.format, devkit)
    except DatasetFormatError as error:
        value = getattr(request, error.field)
        raise InvalidRequestError([Problem(error.field, error.rule, value)]) from error
    except PermissionError as error:
        raise PathForbiddenError("path", request.path, "SOFTVOTE_DATA_ROOTS") from error
    labels = None if layout.labels is None else str(_allowed_labels(allowed, layout.labels))
    columns = {"source": str(path), "root": str(layout.root), "label_source": labels}
    payload = {"format": layout.format, "root": str(layout.root), "labels": labels}
    item = WorkItem(kind="register_dataset", queue="fuse", payload=payload)
    with db.write() as session:
        begin = partial(registration.begin, session, Dataset, request.name, columns, item)
        return idempotency.once(session, "data set", idempotency_key, request, begin)


def complete_registration(db: Database, lease: ItemLease, artifacts: ArtifactStore, index: DatasetIndex) -> None:
    """Store the index and make the data set ready.

    Raises:
        LeaseLostError: the item is no longer this lease's; nothing changed.
        StorageFullError: no room for the index.
    """
    content = index.to_json().encode("ascii")
    # Not the fingerprint: equal ids, labels and files may lie under other paths, or be described in another format.
    stored = artifacts.put(dataset_key(hashlib.sha256(content).hexdigest()), content)
    readable = ([image.width, image.height] for image in index.images if image.width and image.height)
    sizes = [size for size, _ in zip(readable, range(_SAMPLE), strict=False)]
    with leases.finishing(db, lease) as session:
        registration.settle(
            session,
            Dataset,
            lease.dataset_id,
            RegistrationState.READY,
            format=index.format,
            images=len(index.images),
            classes=list(index.classes),
            fingerprint=index.fingerprint,
            index_key=stored.key,
            index_sha256=stored.sha256,
            sample_sizes=sizes,
        )


class KeptIndexes:
    """Indexes that were read last, by version of their file: parsing one of 50,000 images takes half a second.

    A file that was verified when it was read stays right while it is the same file, unchanged.
    """

    def __init__(self, max_images: int) -> None:
        self.max_images = max_images
        self._known: OrderedDict[str, DatasetIndex] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, version: str) -> DatasetIndex | None:
        """The index of this version of a stored file, if it is kept."""
        with self._lock:
            if version in self._known:
                self._known.move_to_end(version)
            return self._known.get(version)

    def keep(self, version: str, index: DatasetIndex) -> None:
        """Of those that were not used longest, as many are forgotten as are too many; the newest stays."""
        with self._lock:
            self._known[version] = index
            self._known.move_to_end(version)
            while len(self._known) > 1 and sum(len(one.images) for one in self._known.values()) > self.max_images:
                self._known.popitem(last=False)


#: Images of all kept indexes together, some 500 bytes each.
_indexes = KeptIndexes(max_images=200_000)


def load_index(artifacts: ArtifactStore, dataset: Dataset) -> DatasetIndex:
    """The images of a ready data set; read and verified once by a process that asks again soon.

    Raises:
        ArtifactDamagedError: the stored index is missing or different.
    """
    if dataset.index_key is None or dataset.index_sha256 is None:
        raise ValueError(f"data set {dataset.name!r} is {dataset.state} and has no index")
    version = artifacts.version(dataset.index_key, dataset.index_sha256)
    index = _indexes.get(version)
    if index is None:
        stored = artifacts.verified(dataset.index_key, dataset.index_sha256)
        index = DatasetIndex.from_json(stored.read_bytes())
        _indexes.keep(version, index)
    return index


def root_of(dataset: Dataset) -> Path:
    """The folder that the paths of its images lie under."""
    return Path(dataset.root or dataset.source)


def verify(
    db: Database, artifacts: ArtifactStore, key: str, progress: Callable[[int, int], None] | None = None
) -> VerificationDocument:
    """Read every file of a data set again, in this process, and compare it with what was registered.

    Args:
        db: the database.
        artifacts: hold the index.
        key: id or name.
        progress: called with (images done, images in all) after each image.

    Raises:
        NotFoundError: no such data set.
        NotReadyError: no worker has read it yet.
        ArtifactDamagedError: the stored index is missing or different.
        DatasetFormatError: what lies there now is no data set of its format any more.
    """
    with db.read() as session:
        row = find(session, Dataset, key)
    if row.state != RegistrationState.READY:
        raise NotReadyError("data set", row.name, row.state)
    index = load_index(artifacts, row)
    layout = DatasetLayout(index.format, root_of(row), None if row.label_source is None else Path(row.label_source))
    return VerificationDocument.of(row.name, verify_images(index, list_images(layout), progress))


def verify_first(row: Dataset, index: DatasetIndex, images: int, step: Callable[[], None]) -> Verification:
    """As `verify`, but of registered images only the first so many are read; all are looked for.

    Args:
        row: ready.
        index: of it.
        images: how many of the canonical order are read; at least one is.
        step: called after each image.

    Raises:
        DatasetFormatError: what lies there now is no data set of its format any more.
    """
    layout = DatasetLayout(index.format, root_of(row), None if row.label_source is None else Path(row.label_source))
    listing = list_images(layout)
    registered = {image.id: index.classes[image.label] for image in index.images}
    listed = {image.id: listing.classes[image.label] for image in listing.images}
    wanted = {image.id for image in index.images[: max(images, 1)]}
    wanted |= {one for one in registered.keys() | listed.keys() if registered.get(one) != listed.get(one)}
    return verify_images(
        replace(index, images=tuple(image for image in index.images if image.id in wanted)),
        replace(listing, images=tuple(image for image in listing.images if image.id in wanted)),
        lambda _done, _total: step(),
    )


def _allowed_labels(allowed: Callable[..., Path], labels: Path) -> Path:
    """A devkit that was found by itself must lie where the request might have named it."""
    try:
        return allowed(str(labels), folder=None)
    except PathForbiddenError as error:
        rule = f"the folder of ImageNet's devkit, under one of the folders of {error.setting}"
        raise InvalidRequestError([Problem("devkit", rule, None)]) from error
