"""Artifacts are written whole or not at all, and never read unchecked."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from app.artifacts import ArtifactStore
from app.errors import ArtifactDamagedError, StorageFullError


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Writing beyond the limit fails with EFBIG, in the middle of a write like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files_under(store: ArtifactStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_bytes_come_back_under_their_checksum(store: ArtifactStore) -> None:
    stored = store.put("datasets/d.json", b"{}")
    assert (stored.key, stored.size_bytes) == ("datasets/d.json", 2)
    assert stored.sha256 == hashlib.sha256(b"{}").hexdigest()
    assert store.verified(stored.key, stored.sha256).read_bytes() == b"{}"
    assert files_under(store) == [store.root / "datasets" / "d.json"]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(4, 3),
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3)),
        np.arange(24, dtype=np.int64).reshape(4, 6)[:, ::2],
        np.zeros((0, 5), dtype=np.float32),
        np.array(3.5),
        np.random.default_rng(0).random((700, 1000)),  # several chunks
    ],
    ids=["C order", "Fortran order", "strided", "empty", "scalar", "large"],
)
def test_arrays_are_stored_as_npy_without_pickle(store: ArtifactStore, array: np.ndarray) -> None:
    stored = store.put("parts/a.npy", array)
    path = store.verified(stored.key, stored.sha256)
    assert path.stat().st_size == stored.size_bytes
    loaded = np.load(path, allow_pickle=False)
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


def test_an_array_of_python_objects_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="not of Python objects"):
        store.put("parts/a.npy", np.array([{}], dtype=object))


def test_storing_again_replaces_the_file_as_a_whole(store: ArtifactStore) -> None:
    first = store.put("a", b"one")
    second = store.put("a", b"another")
    assert store.verified("a", second.sha256).read_bytes() == b"another"
    with pytest.raises(ArtifactDamagedError):
        store.verified("a", first.sha256)


@pytest.mark.parametrize("limit", [0, 1000, 500_000])
def test_no_room_leaves_nothing_behind(store: ArtifactStore, limit: int) -> None:
    kept = store.put("parts/kept.npy", b"kept")
    with files_of_at_most(limit), pytest.raises(StorageFullError) as caught:
        store.put("parts/a.npy", np.zeros(1_000_000, dtype=np.uint8))
    assert caught.value.needed_bytes > 1_000_000
    assert files_under(store) == [store.root / "parts" / "kept.npy"]
    assert store.verified("parts/kept.npy", kept.sha256)
    store.put("parts/a.npy", np.zeros(1_000_000, dtype=np.uint8))


@pytest.mark.parametrize("limit", [0, 1000])
def test_no_room_leaves_the_file_of_that_key_as_it_was(store: ArtifactStore, limit: int) -> None:
    before = store.put("a", b"before")
    with files_of_at_most(limit), pytest.raises(StorageFullError):
        store.put("a", b"after" * 1000)
    assert store.verified("a", before.sha256).read_bytes() == b"before"


@pytest.mark.parametrize("limit", [1000, 500_000, 1_500_000])
def test_no_room_is_found_where_none_can_be_reserved(
    store: ArtifactStore, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "this file system cannot reserve room")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    with files_of_at_most(limit), pytest.raises(StorageFullError):
        store.put("a", bytes(2_000_000))
    assert files_under(store) == []
    assert store.path("a").exists() is False
    stored = store.put("a", bytes(2_000_000))
    assert store.verified("a", stored.sha256).stat().st_size == 2_000_000


def test_a_full_file_system_leaves_nothing_behind(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        store = ArtifactStore(small / "artifacts")
        kept = store.put("kept", b"x" * 300_000)
        with pytest.raises(StorageFullError):
            store.put("large", b"x" * 900_000)
        assert [path.name for path in files_under(store)] == ["kept"]
        assert store.verified("kept", kept.sha256)
        assert 0 < store.free_bytes() < 800_000
        store.put("fits", b"x" * 300_000)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_process_killed_while_it_writes_publishes_no_file(tmp_path: Path) -> None:
    """The second chunk kills the process: what was written so far bears no key."""
    program = """
import os, signal, sys
from pathlib import Path
from app import artifacts
chunks = artifacts._chunks_of
def dying(data):
    pieces, size = chunks(data)
    def some():
        yield next(pieces)
        os.kill(os.getpid(), signal.SIGKILL)
    return some(), size
artifacts._chunks_of = dying
artifacts.ArtifactStore(Path(sys.argv[1])).put("parts/a.npy", bytes(3 << 20))
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert killed.returncode == -9
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) == 1
    assert left[0].startswith(".a.npy.")
    with pytest.raises(ArtifactDamagedError, match="missing"):
        ArtifactStore(tmp_path).verified("parts/a.npy", "0" * 64)


def test_f28_f29_damage_is_found(store: ArtifactStore) -> None:
    stored = store.put("parts/a.npy", np.zeros((100, 10), dtype=np.float32))
    path = store.path(stored.key)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactDamagedError, match="sha256 is"):
        store.verified(stored.key, stored.sha256)
    path.write_bytes(content[:-1])
    with pytest.raises(ArtifactDamagedError, match="sha256 is"):
        store.verified(stored.key, stored.sha256)
    path.unlink()
    with pytest.raises(ArtifactDamagedError, match="the file is missing"):
        store.verified(stored.key, stored.sha256)
    path.mkdir()
    with pytest.raises(ArtifactDamagedError, match="cannot be read"):
        store.verified(stored.key, stored.sha256)


def test_deleting_twice_is_no_error(store: ArtifactStore) -> None:
    store.put("a/b", b"")
    store.delete("a/b")
    store.delete("a/b")
    assert files_under(store) == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "a/", "./a", "a\\..\\b", "a\0b"])
def test_keys_that_lead_elsewhere_are_refused(store: ArtifactStore, key: str) -> None:
    for use in (store.path, store.delete, lambda key: store.put(key, b""), lambda key: store.verified(key, "0")):
        with pytest.raises(ValueError, match="relative path"):
            use(key)


def test_f34_a_process_with_too_many_open_files_takes_no_file_to_be_damaged(store: ArtifactStore) -> None:
    stored = store.put("a", b"whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            store.verified(stored.key, stored.sha256)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert store.verified(stored.key, stored.sha256)
