"""Files that rows point to: written whole or not at all, read only after their checksum was compared."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from app.errors import ArtifactDamagedError, StorageFullError
from app.fault_points import reach

#: What a full disk, a used-up quota and a limit on file sizes look like.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Of a process or machine that is short of something: a file that cannot be opened for it may well be whole.
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
#: File systems that cannot reserve room say so in one of these ways.
_CANNOT_RESERVE = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_CHUNK_BYTES = 1 << 20
#: How the name of a file ends that is being written; it begins with a dot then.
_UNFINISHED = ".tmp"


@dataclass(frozen=True)
class StoredArtifact:
    """What a row keeps of a file: `key` below the store's root, `sha256` of its bytes as 64 hex digits."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class StoredFile:
    """A file in the store as the file system shows it.

    Attributes:
        key: below the store's root.
        size_bytes: its length.
        modified: seconds since the epoch.
        unfinished: whether it was never renamed to what it was to be.
    """

    key: str
    size_bytes: int
    modified: float
    unfinished: bool


class ArtifactStore:
    """A folder of immutable files addressed by relative keys such as `datasets/<sha256>.json`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, data: bytes | memoryview | np.ndarray[Any, Any]) -> StoredArtifact:
        """Store `data` under `key`, an array as .npy; a reader sees the whole file or none, also after a power cut.

        Raises:
            StorageFullError: no room; nothing is left behind.
            ValueError: `key` is no relative path, or the array holds Python objects.
        """
        target = self.path(key)
        chunks, size_bytes = _chunks_of(data)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_UNFINISHED}")
        digest = hashlib.sha256()
        try:
            reach("artifact.before_write")
            _make_folder(target.parent)
            try:
                with temporary.open("xb", buffering=0) as file:
                    _reserve(file.fileno(), size_bytes)
                    for chunk in chunks:
                        digest.update(chunk)
                        _write_all(file, chunk)
                    reach("artifact.before_fsync")
                    os.fsync(file.fileno())
                reach("artifact.after_fsync")
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            reach("artifact.after_rename")
            _sync_folder(target.parent)
            reach("artifact.after_folder_fsync")
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageFullError(str(self.root), size_bytes) from error
            raise
        return StoredArtifact(key, digest.hexdigest(), size_bytes)

    def path(self, key: str) -> Path:
        """Where `key` lies; the file need not exist.

        Raises:
            ValueError: `key` is absolute, empty, or leads out of the store.
        """
        parts = key.split("/")
        if "\0" in key or "\\" in key or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"key: a relative path with forward slashes and no '..' is needed; got {key!r}")
        return self.root / PurePosixPath(*parts)

    def verified(self, key: str, sha256: str) -> Path:
        """The path of a file whose content is what was stored.

        Raises:
            ArtifactDamagedError: it is missing, unreadable or different.
            OSError: this process has too many files open, or too little memory, to find out.
        """
        path = self.path(key)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise ArtifactDamagedError(key, "the file is missing") from None
        except OSError as error:
            if error.errno in _SHORT:
                raise
            raise ArtifactDamagedError(key, f"the file cannot be read ({error.strerror})") from error
        if found != sha256:
            raise ArtifactDamagedError(key, f"sha256 is {found[:12]}…, recorded was {sha256[:12]}…")
        return path

    def version(self, key: str, sha256: str) -> str:
        """What changes when somebody puts another file there, or writes into it, short of reading it.

        Raises:
            ArtifactDamagedError: it is missing or cannot be looked at.
        """
        try:
            found = self.path(key).stat()
        except OSError as error:
            raise ArtifactDamagedError(key, f"the file cannot be found ({error.strerror})") from error
        return f"{sha256}:{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"

    def delete(self, key: str) -> None:
        """Remove a file; one that is gone already is no error."""
        self.path(key).unlink(missing_ok=True)

    def files(self) -> Iterator[StoredFile]:
        """Every file in the store, in no order; links are not followed, and what vanishes meanwhile is left out."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                try:
                    found = path.lstat()
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode):
                    unfinished = name.startswith(".") and name.endswith(_UNFINISHED)
                    key = path.relative_to(self.root).as_posix()
                    yield StoredFile(key, found.st_size, found.st_mtime, unfinished)

    def free_bytes(self) -> int:
        """Room left on the file system of the store."""
        return shutil.disk_usage(self.root).free


def _chunks_of(data: bytes | memoryview | np.ndarray[Any, Any]) -> tuple[Iterator[memoryview], int]:
    """The bytes of `data` piece by piece, so that hashing and writing share one pass; and how many there are."""
    header = b""
    if isinstance(data, np.ndarray):
        array = np.asarray(data, order="C")
        if array.dtype.hasobject:
            raise ValueError(f"data: an array of numbers is needed, not of Python objects; got dtype {array.dtype}")
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
        header, body = buffer.getvalue(), array.reshape(-1).view(np.uint8).data
    else:
        body = memoryview(data).cast("B")

    def pieces() -> Iterator[memoryview]:
        for view in (memoryview(header), body):
            for offset in range(0, len(view), _CHUNK_BYTES):
                yield view[offset : offset + _CHUNK_BYTES]

    return pieces(), len(header) + len(body)


def _write_all(file: io.FileIO, chunk: memoryview) -> None:
    """Write every byte: a write may stop short where room or a limit ends."""
    while chunk:
        chunk = chunk[file.write(chunk) :]


def _reserve(descriptor: int, size_bytes: int) -> None:
    """Take the room before the first byte is written, so that a full disk is noticed at once."""
    if not size_bytes:
        return
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


def _make_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, so that each new entry survives a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
