"""Per-image outcomes as files: written when an evaluation is fused, read when it is compared, by any process.

A file is one `.npy` array (n,) of `FILE_DTYPE`, the scored images in canonical order. 50,000 images take 2 MB, whatever
the number of classes, so a comparison needs neither posteriors nor a worker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.artifacts import ArtifactStore, StoredArtifact
from app.db.models import EvaluationOutcomes
from app.errors import ArtifactDamagedError
from ensembles.outcomes import OUTCOME_DTYPE, ImageOutcomes

#: `image` is the position in the data set's index.
FILE_DTYPE = np.dtype([("image", "<i4"), ("outcome", OUTCOME_DTYPE)])


@dataclass(frozen=True)
class NewOutcomes:
    """A stored file, and whose outcomes it holds.

    Attributes:
        position: of the scores of the same posteriors.
        member_position: of the member; None for the ensemble.
        artifact: the file.
    """

    position: int
    member_position: int | None
    artifact: StoredArtifact


def store(artifacts: ArtifactStore, key: str, images: NDArray[np.integer], outcomes: ImageOutcomes) -> StoredArtifact:
    """Write the outcomes of n images.

    Args:
        artifacts: where to.
        key: of the new file.
        images: (n,), positions in the data set's index.
        outcomes: of the same images.

    Raises:
        StorageFullError: no room; nothing is left behind.
    """
    array = np.empty(len(outcomes), dtype=FILE_DTYPE)
    array["image"] = images
    array["outcome"] = outcomes.to_array()
    return artifacts.put(key, array)


def load(artifacts: ArtifactStore, row: EvaluationOutcomes) -> tuple[NDArray[np.int32], ImageOutcomes]:
    """Positions in the data set's index, (n,), and the outcomes of these images.

    Raises:
        ArtifactDamagedError: the file is missing or is not what was stored.
    """
    array = np.load(artifacts.verified(row.artifact, row.sha256), allow_pickle=False)
    if array.dtype != FILE_DTYPE or array.ndim != 1:
        raise ArtifactDamagedError(row.artifact, f"it holds {array.dtype}, not outcomes")
    return np.ascontiguousarray(array["image"]), ImageOutcomes.from_array(array["outcome"])
