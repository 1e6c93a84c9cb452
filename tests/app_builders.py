"""A service with rows in it, made by the service's own functions, with facts in place of what a worker would find."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.config import Settings
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.runtime import Runtime, build_runtime
from app.services import checkpoints, datasets, evaluations, predictions, workers
from app.services.checkpoints import CheckpointFacts
from app.services.evaluations import NewScore
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from app.services.leasing.slices import FinishedPart
from app.services.workers import WorkerIdentity
from ensembles.configurations import Architecture
from ensembles.datasets import DatasetIndex, ImageRecord
from ensembles.specs import Preprocessing

CLASSES = ("cat", "dog", "=cow")


def make_runtime(home: Path) -> Runtime:
    """An empty service in `home`, its schema at head."""
    return build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)}), migrate=True)


@dataclass(frozen=True)
class Service:
    """One service, and a worker's side of its life without a network."""

    runtime: Runtime

    @property
    def checkpoint_root(self) -> Path:
        return self.runtime.settings.checkpoint_roots[0]

    @property
    def data_root(self) -> Path:
        return self.runtime.settings.data_roots[0]

    def request_checkpoint(self, name: str, **fields: Any) -> str:
        """A checkpoint in state `registering`."""
        file = self.checkpoint_root / f"{hashlib.sha256(name.encode()).hexdigest()[:8]}.safetensors"
        file.write_bytes(name.encode())
        request = CheckpointRequest(path=file.name, name=name, **fields)
        return checkpoints.request_registration(self.runtime.db, self.runtime.settings, request)

    def add_checkpoint(self, name: str = "vgg-a", *, training_scale: tuple[int, int] | None = (32, 64)) -> str:
        """A ready checkpoint with the classes of `add_dataset`, crop 32."""
        key = self.request_checkpoint(name)
        architecture = Architecture("A", width=0.05, classes=len(CLASSES), crop=32)
        facts = CheckpointFacts(
            path=str(self.checkpoint_root / "weights.safetensors"),
            sha256=hashlib.sha256(name.encode()).hexdigest(),
            size_bytes=1000,
            architecture=architecture.to_dict(),
            architecture_name=architecture.name,
            classes=architecture.classes,
            parameters=architecture.parameters,
            macs=float(architecture.macs(32, 32)),
            training_scale=training_scale,
            preprocessing=Preprocessing().to_dict(),
            class_names=None,
        )
        checkpoints.complete_registration(self.runtime.db, self._item("predict"), facts)
        return key

    def request_dataset(self, name: str) -> str:
        """A data set in state `registering`."""
        folder = self.data_root / hashlib.sha256(name.encode()).hexdigest()[:8]
        folder.mkdir(exist_ok=True)
        request = DatasetRequest(path=folder.name, name=name)
        return datasets.request_registration(self.runtime.db, self.runtime.settings, request)

    def add_dataset(self, name: str = "digits", *, images: int = 12) -> str:
        """A ready data set."""
        key = self.request_dataset(name)
        records = tuple(
            ImageRecord(f"{CLASSES[i % 3]}/{i:04d}.jpg", i % 3, hashlib.sha256(i.to_bytes(4)).hexdigest(), 48, 40, 900)
            for i in range(images)
        )
        index = DatasetIndex("image_folder", CLASSES, records)
        datasets.complete_registration(self.runtime.db, self._item("fuse"), self.runtime.artifacts, index)
        return key

    def submit(self, *names: str, dataset: str = "digits", **fields: Any) -> str:
        """An evaluation of these checkpoints, dense at Q = 40 unless told otherwise."""
        fields.setdefault("protocol", {"scales": [40]})
        request = EvaluationRequest(dataset=dataset, checkpoints=list(names), **fields)
        return evaluations.submit(self.runtime.db, request).id

    def predict(self) -> None:
        """Do all predicting that is asked for, with equal posteriors everywhere."""
        worker = self.add_worker()
        while slice_ := predictions.lease_slice(self.runtime.db, worker, macs_per_second=1e12):
            probs = np.full((slice_.stop - slice_.start, len(CLASSES)), 1 / len(CLASSES), np.float32)
            finished = [
                FinishedPart(
                    part=part,
                    artifact=self.runtime.artifacts.put(f"parts/{part.id}-{part.token}.npy", probs),
                    unreadable=[],
                    batch=8,
                    seconds=0.1,
                    environment={"device": "cpu"},
                )
                for part in slice_.parts
            ]
            predictions.complete(self.runtime.db, worker, finished)
        evaluations.advance_ready(self.runtime.db)

    def succeed(self, evaluation_id: str, *scores: NewScore) -> None:
        """Predict and end an evaluation with these scores."""
        self.predict()
        evaluations.succeed(self.runtime.db, self._item("fuse"), scores, {"softvote": "0.1.0"})

    def add_worker(self, name: str = "cpu@here") -> str:
        """A live worker process: this one."""
        identity = WorkerIdentity.of_this_process(name, "cpu", ("predict", "fuse"), {"torch": "2"})
        return workers.register(self.runtime.db, identity)

    def fail_registration(self, code: str, message: str) -> None:
        """End the pending registration of a checkpoint with an error."""
        leases.fail_item(self.runtime.db, self._item("predict"), code, message, retryable=False)

    def _item(self, queue: str) -> ItemLease:
        item = leases.lease_item(self.runtime.db, self.add_worker(), [queue])
        assert item is not None
        return item


def score(position: int, name: str, metric: str, value: float, **fields: Any) -> NewScore:
    """A score of one checkpoint, dense at Q = 40."""
    columns: dict[str, Any] = {
        "subject": "checkpoint",
        "members": [{"checkpoint": name, "scales": [40], "mode": "dense"}],
        "scales": [40],
        "mode": "dense",
        "low": None,
        "high": None,
        "n": 12,
        "n_unreadable": 0,
        **fields,
    }
    return NewScore(position=position, subject_name=name, metric=metric, value=value, **columns)
