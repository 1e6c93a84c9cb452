"""Files that no row names go after a while; what is named, held, young or not ours stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

from app.db.models import LeaseState, PredictionPart
from app.services import collection, evaluations, predictions
from app.services.artifact_keys import contenders_key, outcomes_key, posteriors_key
from app.services.leasing import leases
from app.services.leasing.slices import FinishedPart, LeasedSlice
from tests.catalogue import Catalogue

HOUR = 3600.0


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def store(catalogue: Catalogue, leased: LeasedSlice) -> list[FinishedPart]:
    """Write the files of a slice as a worker does, two hours ago."""
    finished = []
    for part in leased.parts:
        artifact = catalogue.artifacts.put(posteriors_key(part.set_id, part.id, part.token), b"posteriors")
        age(catalogue.artifacts.path(artifact.key), 2 * HOUR)
        finished.append(FinishedPart(part, artifact, [], 1, 0.1, {}))
    return finished


def files(catalogue: Catalogue) -> set[str]:
    return {file.key for file in catalogue.artifacts.files() if not file.key.startswith("datasets/")}


def submitted(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol={"scales": [32], "modes": ["dense"]})


def test_f08_files_of_a_worker_that_vanished_before_its_commit_are_removed(catalogue: Catalogue) -> None:
    submitted(catalogue)
    first = catalogue.lease("first")
    (left,) = store(catalogue, first)
    predictions.release_slice(catalogue.db, first)
    second = catalogue.lease("second")
    (kept,) = store(catalogue, second)
    predictions.complete(catalogue.db, "second", [kept])
    report = collection.collect(catalogue.db, catalogue.artifacts)
    assert (report.files, report.unfinished, report.size_bytes) == (1, 0, len(b"posteriors"))
    assert files(catalogue) == {kept.artifact.key}
    assert left.artifact.key != kept.artifact.key


def test_a_file_under_a_lease_that_may_still_complete_stays(catalogue: Catalogue) -> None:
    submitted(catalogue)
    leased = catalogue.lease("slow")
    (written,) = store(catalogue, leased)
    assert collection.collect(catalogue.db, catalogue.artifacts).files == 0
    assert files(catalogue) == {written.artifact.key}
    predictions.release_slice(catalogue.db, leased)
    assert collection.collect(catalogue.db, catalogue.artifacts).files == 1
    assert files(catalogue) == set()


def test_what_is_younger_than_an_hour_stays(catalogue: Catalogue) -> None:
    submitted(catalogue)
    leased = catalogue.lease("quick")
    (written,) = store(catalogue, leased)
    predictions.release_slice(catalogue.db, leased)
    age(catalogue.artifacts.path(written.artifact.key), HOUR - 60)
    assert collection.collect(catalogue.db, catalogue.artifacts).files == 0
    assert files(catalogue) == {written.artifact.key}


def test_files_that_were_never_finished_are_removed(catalogue: Catalogue) -> None:
    folder = catalogue.artifacts.root / "posteriors" / "ab"
    folder.mkdir(parents=True)
    old, young = folder / ".part.npy.0123456789ab.tmp", folder / ".part.npy.ba9876543210.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    age(old, 2 * HOUR)
    report = collection.collect(catalogue.db, catalogue.artifacts)
    assert (report.files, report.unfinished, report.size_bytes) == (0, 1, 4)
    assert [path.name for path in folder.iterdir()] == [young.name]


def test_files_of_another_service_and_of_people_stay(catalogue: Catalogue) -> None:
    submitted(catalogue)
    theirs = [
        posteriors_key("0" * 24, "f" * 24, 1),
        outcomes_key("e" * 24, 1, 0),
        "posteriors/README.txt",
        "notes.md",
    ]
    for key in theirs:
        catalogue.artifacts.put(key, b"x")
        age(catalogue.artifacts.path(key), 2 * HOUR)
    assert collection.collect(catalogue.db, catalogue.artifacts).files == 0
    assert files(catalogue) == set(theirs)


def test_the_index_of_a_data_set_stays(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    (index,) = [file for file in catalogue.artifacts.files() if file.key.startswith("datasets/")]
    age(catalogue.artifacts.path(index.key), 2 * HOUR)
    assert collection.collect(catalogue.db, catalogue.artifacts).files == 0
    assert catalogue.artifacts.path(index.key).is_file()


def test_outcomes_of_a_fusion_that_was_cut_short_are_removed(catalogue: Catalogue) -> None:
    submitted(catalogue)
    catalogue.predict_all("w")
    first = leases.lease_item(catalogue.db, "w", ["fuse"])
    assert first is not None
    left = catalogue.artifacts.put(outcomes_key(first.id, first.token, 0), b"outcomes")
    leases.release_item(catalogue.db, first)
    age(catalogue.artifacts.path(left.key), 2 * HOUR)
    second = leases.lease_item(catalogue.db, "w", ["fuse"])
    assert second is not None
    kept = catalogue.artifacts.put(outcomes_key(second.id, second.token, 0), b"outcomes")
    age(catalogue.artifacts.path(kept.key), 2 * HOUR)
    evaluations.succeed(catalogue.db, second, [catalogue.score(0.25)], {}, [evaluations.NewOutcomes(0, None, kept)])
    assert collection.collect(catalogue.db, catalogue.artifacts).files == 1
    assert files(catalogue) == {kept.key}


def test_a_part_that_is_done_keeps_only_the_file_that_it_names(catalogue: Catalogue) -> None:
    submitted(catalogue)
    leased = catalogue.lease("w")
    (done,) = store(catalogue, leased)
    predictions.complete(catalogue.db, "w", [done])
    earlier = posteriors_key(done.part.set_id, done.part.id, 0)
    catalogue.artifacts.put(earlier, b"earlier")
    age(catalogue.artifacts.path(earlier), 2 * HOUR)
    collection.collect(catalogue.db, catalogue.artifacts)
    assert files(catalogue) == {done.artifact.key}
    with catalogue.db.read() as session:
        row = session.get_one(PredictionPart, done.part.id)
        assert (row.state, row.artifact) == (LeaseState.DONE, done.artifact.key)


def test_a_table_of_contenders_goes_when_it_is_old_since_it_can_be_made_again(catalogue: Catalogue) -> None:
    for name, days in (("old", 31), ("recent", 29)):
        artifact = catalogue.artifacts.put(contenders_key(name), b"table")
        age(catalogue.artifacts.path(artifact.key), days * 24 * HOUR)
    assert collection.collect(catalogue.db, catalogue.artifacts).files == 1
    assert files(catalogue) == {contenders_key("recent")}
