"""A service with weeks of work behind it, for pages to show: every row is made by the real services, as workers would.

No network runs: scores are given as numbers of wrong images, and the stored outcomes err on as many. Where a test needs
a few plain rows, `app_builders` is shorter; this is for data sets of any size, networks of any kind, and complete score
tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from app.artifacts import StoredArtifact
from app.db.models import Dataset, Worker
from app.db.queries import evaluations as evaluation_queries
from app.representations.evaluations import EvaluationDocument
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.runtime import Runtime
from app.services import checkpoints, datasets, evaluations, predictions
from app.services.answering import outcomes
from app.services.answering.outcomes import NewOutcomes
from app.services.artifact_keys import outcomes_key
from app.services.checkpoints import CheckpointFacts
from app.services.evaluations import NewScore
from app.services.leasing import leases
from app.services.leasing.slices import FinishedPart
from ensembles.configurations import Architecture
from ensembles.datasets import DatasetIndex, ImageRecord
from ensembles.outcomes import ImageOutcomes
from ensembles.specs import Preprocessing
from ensembles.statistics import wilson_interval
from tests.made_outcomes import made_outcomes

WORKER_ID = "0" * 24

#: (subject, name, members, scales, mode).
ScoreRow = tuple[str, str, list[dict[str, Any]], list[int] | None, str | None]


@dataclass
class History:
    """Adds rows to a service, one method a thing that happened."""

    runtime: Runtime
    #: Of the imagined worker: small, so that a slice is a part of the work.
    macs_per_second: float = 2e9

    def register_dataset(self, name: str) -> str:
        """A data set that a worker has not read yet; its id."""
        folder = self.runtime.settings.data_roots[0] / _sha256(name)[:8]
        folder.mkdir(parents=True, exist_ok=True)
        return datasets.request_registration(
            self.runtime.db, self.runtime.settings, DatasetRequest(path=str(folder), name=name)
        )

    def dataset(self, name: str, *, images: int, classes: Sequence[str], size: tuple[int, int] = (48, 40)) -> str:
        """A ready data set of images of one size; its id."""
        records = tuple(
            ImageRecord(f"{name}/{i:05d}.png", i % len(classes), _sha256(f"{name}{i}"), *size, 900)
            for i in range(images)
        )
        return self.indexed_dataset(name, DatasetIndex("image_folder", tuple(classes), records))

    def indexed_dataset(self, name: str, index: DatasetIndex) -> str:
        """A ready data set of these images; its id."""
        key = self.register_dataset(name)
        datasets.complete_registration(self.runtime.db, self._item("fuse"), self.runtime.artifacts, index)
        return key

    def register_checkpoint(self, name: str, **request: Any) -> str:
        """A checkpoint that a worker has not read yet; its id."""
        path = self.runtime.settings.checkpoint_roots[0] / f"{_sha256(name)[:8]}.safetensors"
        path.write_bytes(name.encode())
        return checkpoints.request_registration(
            self.runtime.db, self.runtime.settings, CheckpointRequest(path=str(path), name=name, **request)
        )

    def checkpoint(
        self, name: str, architecture: Architecture, training_scale: tuple[int, int] | None = None, **request: Any
    ) -> str:
        """A ready checkpoint; its id."""
        key = self.register_checkpoint(name, **request)
        lease = self._item("predict")
        facts = CheckpointFacts(
            path=str(lease.payload["path"]),
            sha256=_sha256(name),
            size_bytes=4 * architecture.parameters,
            architecture=architecture.to_dict(),
            architecture_name=architecture.name,
            classes=architecture.classes,
            parameters=architecture.parameters,
            macs=architecture.macs(architecture.crop, architecture.crop),
            training_scale=training_scale,
            preprocessing=Preprocessing().to_dict(),
            class_names=None,
        )
        checkpoints.complete_registration(self.runtime.db, lease, facts)
        return key

    def fail_registration(self, queue: str, code: str, message: str) -> None:
        """What was asked for last on a queue cannot be registered."""
        leases.fail_item(self.runtime.db, self._item(queue), code, message, retryable=False)

    def submit(self, **request: Any) -> str:
        """A queued evaluation; its id."""
        return evaluations.submit(self.runtime.db, EvaluationRequest(**request)).id

    def predict(self, slices: int | None = None, unreadable: Sequence[Mapping[str, Any]] = ()) -> None:
        """Work off slices of 30 s on a slow machine, all of them where no number is given."""
        done = 0
        while slices is None or done < slices:
            leased = predictions.lease_slice(self.runtime.db, WORKER_ID, macs_per_second=self.macs_per_second)
            if leased is None:
                break
            bad = [dict(image) for image in unreadable if leased.start <= image["index"] < leased.stop]
            finished = [
                FinishedPart(part, StoredArtifact(f"parts/{part.id}.npy", _sha256(part.id), 1000), bad, 8, 29.0, {})
                for part in leased.parts
            ]
            predictions.complete(self.runtime.db, WORKER_ID, finished)
            done += 1
        evaluations.advance_ready(self.runtime.db)

    def fail_slice(self, code: str, message: str) -> None:
        """The next slice fails for good, and whoever wants it with it."""
        leased = predictions.lease_slice(self.runtime.db, WORKER_ID, macs_per_second=self.macs_per_second)
        assert leased is not None
        predictions.fail_parts(self.runtime.db, leased.parts, code, message, retryable=False)
        evaluations.advance_ready(self.runtime.db)

    def back_off(self, code: str, message: str) -> None:
        """The next slice ends in an error and waits for its next try."""
        leased = predictions.lease_slice(self.runtime.db, WORKER_ID, macs_per_second=self.macs_per_second)
        assert leased is not None
        predictions.fail_parts(self.runtime.db, leased.parts, code, message, retryable=True)

    def finish(
        self,
        evaluation_id: str,
        wrong: Sequence[int],
        n_unreadable: int = 0,
        answers: Mapping[str, ImageOutcomes] | None = None,
    ) -> None:
        """Fuse one evaluation, with stored outcomes that err on as many images.

        Args:
            evaluation_id: whose predictions are done.
            wrong: how many images each row of its score table gets wrong, in their order.
            n_unreadable: the last images of the evaluation, which could not be read.
            answers: outcomes of members and the "ensemble" in place of made-up ones; an empty mapping stores none, as
                releases did that kept none.
        """
        with self.runtime.db.read() as session:
            document = evaluation_queries.get(session, evaluation_id)
        rows = list(_score_rows(document))
        assert len(rows) == len(wrong), [(name, scales, mode) for _, name, _, scales, mode in rows]
        n = document.images - n_unreadable
        scores = [
            score
            for position, (row, errors) in enumerate(zip(rows, wrong, strict=True))
            for score in _scores(position, row, errors, n, n_unreadable)
        ]
        provenance = {
            "dataset": {"name": document.dataset, "fingerprint": _sha256(document.dataset), "images": document.images},
            "made_with": [{"device": "cpu", "torch": "2.14.1", "pillow": "13.0.0"}],
            "members": [
                {
                    "checkpoint": member.checkpoint,
                    "sha256": _sha256(member.checkpoint),
                    "views": [
                        {"set": view.set_id, "digest": view.view_digest, "mode": view.mode, "scale": view.scale}
                        for view in document.views
                        if view.checkpoint == member.checkpoint
                    ],
                }
                for member in document.checkpoints
            ],
            "fused_with": {"softvote": "0.1.0", "numpy": "2.4.6"},
        }
        item = self._item("fuse")
        if answers is None:
            answers = self._made_answers(document, rows, wrong, n)
        positions = {name: position for position, (_, name, *_) in enumerate(rows)}
        members = {member.checkpoint: number for number, member in enumerate(document.checkpoints)}
        stored = []
        for name, found in answers.items():
            key = outcomes_key(item.id, item.token, positions[name])
            artifact = outcomes.store(self.runtime.artifacts, key, np.arange(n), found)
            stored.append(NewOutcomes(positions[name], members.get(name), artifact))
        evaluations.succeed(self.runtime.db, item, scores, provenance, stored)

    def index(self, dataset: str) -> DatasetIndex:
        """The images of a ready data set, by its name."""
        with self.runtime.db.read() as session:
            row = session.scalars(select(Dataset).where(Dataset.name == dataset)).one()
        return datasets.load_index(self.runtime.artifacts, row)

    def _made_answers(
        self, document: EvaluationDocument, rows: Sequence[ScoreRow], wrong: Sequence[int], n: int
    ) -> dict[str, ImageOutcomes]:
        """Of each member and the ensemble, whose whole row is their last."""
        index = self.index(document.dataset)
        errors = {name: count for (_, name, *_), count in zip(rows, wrong, strict=True)}
        return {
            name: made_outcomes(index.labels[:n], len(index.classes), count, count // 6, seed=_number(name))
            for name, count in errors.items()
        }

    def worker(self, name: str, **columns: Any) -> None:
        """A worker process that was seen just now, unless told otherwise."""
        row = {
            "host": "lab-2",
            "boot_id": "b" * 32,
            "pid": 4000 + len(name),
            "pid_started": 1,
            "device": "cpu",
            "queues": ["predict", "fuse"],
            "versions": {"softvote": "0.1.0", "torch": "2.14.1"},
            **columns,
        }
        with self.runtime.db.write() as session:
            session.add(Worker(name=name, **row))

    def _item(self, queue: str) -> leases.ItemLease:
        lease = leases.lease_item(self.runtime.db, WORKER_ID, [queue])
        assert lease is not None, f"nothing to do on queue {queue}"
        return lease


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _number(text: str) -> int:
    return int(_sha256(text)[:8], 16)


def _score_rows(document: EvaluationDocument) -> Iterator[ScoreRow]:
    """The rows in the order in which workers store them: views, modes, checkpoints, the ensemble."""
    members = [(m.checkpoint, list(m.protocol["modes"]), m.scales) for m in document.checkpoints]
    for name, modes, scales in members:
        yield from (_checkpoint_row(name, [scale], mode) for mode in modes for scale in scales)
    for name, modes, scales in members:
        yield from (_checkpoint_row(name, scales, mode) for mode in modes if len(scales) > 1)
    for name, modes, scales in members:
        if len(modes) == 2:
            yield _checkpoint_row(name, scales, "both")
    if len(members) > 1:
        wholes = [
            {"checkpoint": name, "scales": scales, "mode": "both" if len(modes) == 2 else modes[0]}
            for name, modes, scales in members
        ]
        first = wholes[0]
        shared_scales = first["scales"] if all(whole["scales"] == first["scales"] for whole in wholes) else None
        shared_mode = first["mode"] if all(whole["mode"] == first["mode"] for whole in wholes) else None
        yield "ensemble", "ensemble", wholes, shared_scales, shared_mode


def _checkpoint_row(name: str, scales: list[int], mode: str) -> ScoreRow:
    return "checkpoint", name, [{"checkpoint": name, "scales": scales, "mode": mode}], scales, mode


def _scores(position: int, row: ScoreRow, errors: int, n: int, n_unreadable: int) -> list[NewScore]:
    subject, name, members, scales, mode = row

    def score(metric: str, value: float, low: float | None, high: float | None) -> NewScore:
        return NewScore(position, subject, name, members, scales, mode, metric, value, low, high, n, n_unreadable)

    top5 = errors // 6
    return [
        score("top1_error", errors / n, *wilson_interval(errors, n)),
        score("top5_error", top5 / n, *wilson_interval(top5, n)),
        score("nll", 3.1 * errors / n + 0.02, None, None),
    ]
