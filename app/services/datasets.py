"""Data sets: registered at once, described when a worker has read every image."""

from __future__ import annotations

from app.artifacts import ArtifactStore
from app.config import Settings
from app.db.models import Dataset, RegistrationState, WorkItem
from app.db.session import Database
from app.representations.requests import DatasetRequest
from app.services import leases, registration
from app.services.leases import ItemLease
from app.services.paths import allowed_path
from ensembles.datasets import DatasetIndex

#: The canonical order is a shuffle, so the first images are a fair sample of the sizes.
_SAMPLE = 256


def request_registration(db: Database, settings: Settings, request: DatasetRequest, *, trusted: bool = False) -> str:
    """Add a data set in state `registering`, for a worker to read; its id.

    Args:
        db: the database.
        settings: names the folders that the path must lie under.
        request: path and name.
        trusted: the operator's own command line, which may name any folder.

    Raises:
        PathForbiddenError: the path is not allowed.
        NameTakenError: another data set has the name.
        InvalidRequestError: a trusted path that is no folder.
    """
    root = allowed_path(request.path, settings.data_roots, "SOFTVOTE_DATA_ROOTS", folder=True, trusted=trusted)
    item = WorkItem(kind="register_dataset", queue="fuse", payload={"path": str(root)})
    with db.write() as session:
        return registration.begin(session, Dataset, request.name, {"source": str(root)}, item)


def complete_registration(db: Database, lease: ItemLease, artifacts: ArtifactStore, index: DatasetIndex) -> None:
    """Store the index and make the data set ready.

    Raises:
        LeaseLostError: the item is no longer this lease's; nothing changed.
        StorageFullError: no room for the index.
    """
    stored = artifacts.put(f"datasets/{index.fingerprint}.json", index.to_json().encode("ascii"))
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


def load_index(artifacts: ArtifactStore, dataset: Dataset) -> DatasetIndex:
    """The images of a ready data set.

    Raises:
        ArtifactDamagedError: the stored index is missing or different.
    """
    if dataset.index_key is None or dataset.index_sha256 is None:
        raise ValueError(f"data set {dataset.name!r} is {dataset.state} and has no index")
    return DatasetIndex.from_json(artifacts.verified(dataset.index_key, dataset.index_sha256).read_bytes())
