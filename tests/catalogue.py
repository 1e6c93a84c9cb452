"""Checkpoints, data sets and workers as rows, without images, weights or torch: for tests of the service's core."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.artifacts import ArtifactStore, StoredArtifact
from app.config import Settings
from app.db.queries import evaluations as queries
from app.db.session import Database
from app.representations.evaluations import EvaluationDocument
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.services import checkpoints, datasets, evaluations, predictions, workers
from app.services.checkpoints import CheckpointFacts
from app.services.evaluations import NewScore
from app.services.leasing import leases
from app.services.predictions import FinishedPart, LeasedSlice
from app.services.workers import WorkerIdentity
from ensembles.configurations import Architecture
from ensembles.datasets import DatasetIndex, ImageRecord
from ensembles.specs import Preprocessing

#: A rate at which every set of a test is one slice.
FAST = 1e18


@dataclass
class Catalogue:
    """One home folder and database, with shorthands for what tests do all the time."""

    home: Path
    db: Database
    classes: int = 10
    settings: Settings = field(init=False)
    artifacts: ArtifactStore = field(init=False)

    def __post_init__(self) -> None:
        self.settings = Settings.from_environment({"SOFTVOTE_HOME": str(self.home)})
        self.artifacts = ArtifactStore(self.settings.artifacts)
        for root in (*self.settings.data_roots, *self.settings.checkpoint_roots):
            root.mkdir(parents=True, exist_ok=True)

    def index(self, images: int, size: tuple[int, int] = (48, 48)) -> DatasetIndex:
        """A data set of `images` images, which exist only here."""
        records = tuple(
            ImageRecord(f"c{i % self.classes}/{i:05d}.png", i % self.classes, f"{i:064x}", *size, 100)
            for i in range(images)
        )
        return DatasetIndex("image_folder", tuple(f"c{i}" for i in range(self.classes)), records)

    def dataset(self, name: str = "digits", images: int = 1000, size: tuple[int, int] = (48, 48)) -> str:
        """Register a data set; its id."""
        (self.settings.data_roots[0] / name).mkdir(exist_ok=True)
        dataset_id = datasets.request_registration(self.db, self.settings, DatasetRequest(path=name, name=name))
        lease = leases.lease_item(self.db, "registrar", ["fuse"])
        assert lease is not None
        assert lease.dataset_id == dataset_id
        datasets.complete_registration(self.db, lease, self.artifacts, self.index(images, size))
        return dataset_id

    def checkpoint(self, name: str, *, content: str | None = None, **changes: Any) -> str:
        """Register a checkpoint with weights named by `content`; its id. `changes` replace fields of its facts."""
        path = self.settings.checkpoint_roots[0] / f"{name}.safetensors"
        path.write_bytes(b"weights")
        checkpoint_id = checkpoints.request_registration(
            self.db, self.settings, CheckpointRequest(path=str(path), name=name)
        )
        lease = leases.lease_item(self.db, "registrar", ["predict"])
        assert lease is not None
        assert lease.checkpoint_id == checkpoint_id
        checkpoints.complete_registration(self.db, lease, self.facts(path, content or name, **changes))
        return checkpoint_id

    def facts(self, path: Path, content: str, **changes: Any) -> CheckpointFacts:
        """What a worker would find: a small configuration D with crop 32, trained with S in [32; 64]."""
        network = changes.pop("network", None) or Architecture("D", False, 0.125, self.classes, 32)
        facts: dict[str, Any] = {
            "path": str(path),
            "sha256": hashlib.sha256(content.encode()).hexdigest(),
            "size_bytes": 7,
            "architecture": network.to_dict(),
            "architecture_name": network.name,
            "classes": network.classes,
            "parameters": network.parameters,
            "macs": float(network.macs(network.crop, network.crop)),
            "training_scale": (32, 64),
            "preprocessing": Preprocessing().to_dict(),
            "class_names": None,
        }
        return CheckpointFacts(**{**facts, **changes})

    def submit(self, *names: str, key: str | None = None, **fields: Any) -> str:
        """Submit an evaluation of these checkpoints on "digits"; its id."""
        request = EvaluationRequest(**{"dataset": "digits", "checkpoints": list(names), **fields})
        return evaluations.submit(self.db, request, idempotency_key=key).id

    def worker(self, name: str = "w1") -> str:
        """Announce a worker in this process; its id."""
        identity = WorkerIdentity.of_this_process(name, "cpu", ("predict", "fuse"), {})
        return workers.register(self.db, identity)

    def lease(self, worker: str, macs_per_second: float = FAST, seconds: float = 1.0) -> LeasedSlice:
        """The next slice, which there must be."""
        leased = predictions.lease_slice(self.db, worker, macs_per_second, seconds)
        assert leased is not None
        return leased

    def finished(self, leased: LeasedSlice, unreadable: Sequence[dict[str, Any]] = ()) -> list[FinishedPart]:
        """Every part of a slice as a worker ends it, but for the file: rows are what these tests are about."""
        return [
            FinishedPart(
                part, StoredArtifact(f"parts/{part.id}.{part.token}.npy", "0" * 64, 1), list(unreadable), 1, 0.1, {}
            )
            for part in leased.parts
        ]

    def complete(self, worker: str, leased: LeasedSlice, unreadable: Sequence[dict[str, Any]] = ()) -> list[str]:
        """Finish a slice; ids of the parts that counted."""
        return predictions.complete(self.db, worker, self.finished(leased, unreadable))

    def predict_all(self, worker: str, macs_per_second: float = FAST) -> list[LeasedSlice]:
        """Lease and complete until nothing is left, then move evaluations on; the slices."""
        slices = []
        while (leased := predictions.lease_slice(self.db, worker, macs_per_second, 1.0)) is not None:
            self.complete(worker, leased)
            slices.append(leased)
        evaluations.advance_ready(self.db)
        return slices

    def fuse(self, worker: str, value: float = 0.25) -> str:
        """Lease the next fuse item and end its evaluation with one score; the evaluation's id."""
        lease = leases.lease_item(self.db, worker, ["fuse"])
        assert lease is not None
        assert lease.evaluation_id is not None
        evaluations.succeed(self.db, lease, [self.score(value)], {"softvote": "test"})
        return lease.evaluation_id

    def score(self, value: float, **changes: Any) -> NewScore:
        """A top-1 error of an ensemble."""
        fields: dict[str, Any] = {
            "position": 0,
            "subject": "ensemble",
            "subject_name": "ensemble",
            "members": [{"checkpoint": "a", "scales": [32], "mode": "dense"}],
            "scales": [32],
            "mode": "dense",
            "metric": "top1_error",
            "value": value,
            "low": max(0.0, value - 0.1),
            "high": min(1.0, value + 0.1),
            "n": 1000,
            "n_unreadable": 0,
        }
        return NewScore(**{**fields, **changes})

    def get(self, evaluation_id: str) -> EvaluationDocument:
        """The evaluation as people see it."""
        with self.db.read() as session:
            return queries.get(session, evaluation_id)

    def status(self, evaluation_id: str) -> str:
        """The evaluation's status."""
        return self.get(evaluation_id).status
